"""How a file of neural data is read: one kind a module, all of them as if a stranger wrote the file."""
