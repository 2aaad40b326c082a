"""How do stimuli get here? One reader a kind of file; each returns what it :class:`~.folder.Found`."""
