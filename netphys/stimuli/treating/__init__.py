"""The steps of a treatment, one file a kind: framing, light, filters, matching; and what they measure on a set."""
