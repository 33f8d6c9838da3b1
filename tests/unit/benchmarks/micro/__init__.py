"""Tests of benchmarks/micro."""
