"""The routing core: pure functions and frozen data, without I/O or a clock."""
