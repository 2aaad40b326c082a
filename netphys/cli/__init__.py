"""The same by command: a thin coat, one command a file."""
