"""Tests of `arrivals`."""
