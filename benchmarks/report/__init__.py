"""Turns raw results into tables, charts and verdicts on targets: `python -m benchmarks.report`."""
