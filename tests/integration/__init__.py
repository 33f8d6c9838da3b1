"""Integration tests, with real brokers and real processes."""
