"""Measures the cost of Metroline beside other ways to do the same work."""
