"""Tests of `brokers`."""
