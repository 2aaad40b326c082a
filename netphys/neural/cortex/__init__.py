"""A simulated cortex with a known truth: what drives each region, the law of its responses, its noise."""
