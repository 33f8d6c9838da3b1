"""Routing decides: pure functions and data, no I/O, no clock."""
