"""The side-by-side run: the same records under each strategy, what it cost, and the report of it."""
