"""Tests of `pulses`."""
