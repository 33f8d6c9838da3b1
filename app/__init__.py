"""Assembles a worker and the command `metroline` from the other rooms."""
