"""Tests of `routing/rules`."""
