"""Tests of benchmarks/live."""
