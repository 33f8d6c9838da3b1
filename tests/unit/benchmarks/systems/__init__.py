"""Tests of benchmarks/systems."""
