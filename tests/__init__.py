"""Tests: unit, component (Faust's test_context), integration (real brokers and processes), browser."""
