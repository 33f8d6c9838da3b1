"""Measures the cost of one step of the routing core, and of one lookup."""
