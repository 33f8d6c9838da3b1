"""Tests of `routing/rules/cel`."""
