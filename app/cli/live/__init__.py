"""A live line on a terminal: its counts, what its services write, and the changes of its files that take effect."""
