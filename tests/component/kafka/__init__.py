"""Tests of `agents/kafka`."""
