"""Pages that are gathered from the tables of all workers."""
