"""Tests of the benchmark on a broker, with real processes."""
