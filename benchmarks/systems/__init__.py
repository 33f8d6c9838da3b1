"""Whole systems run side by side on the same records."""
