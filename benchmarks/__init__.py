"""Metroline's strategies and other ways to do the same work, measured side by side."""
