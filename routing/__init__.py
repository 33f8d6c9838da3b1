"""Everything that can be decided without waiting: pure functions and frozen data, without I/O or a clock."""
