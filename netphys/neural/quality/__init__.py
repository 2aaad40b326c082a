"""How good are the data? Reliability of neuroids with its interval, and what a model can reach at best."""
