"""Runs whole systems side by side on the same records."""
