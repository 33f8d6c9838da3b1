"""Everything that can be decided without waiting: pure functions and frozen data."""
