"""Runs the same records under each strategy, and reports what each one cost."""
