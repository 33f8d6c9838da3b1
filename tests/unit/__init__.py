"""Unit tests, which touch neither a broker nor the clock."""
