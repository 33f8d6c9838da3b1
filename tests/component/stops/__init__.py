"""Tests of `stops`."""
