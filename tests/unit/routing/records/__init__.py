"""Tests of `routing/records`."""
