"""Public sets of neural data by name: where they are, whose they are, how they are cited; fetched when asked."""
