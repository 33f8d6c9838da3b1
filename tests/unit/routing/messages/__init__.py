"""Tests of `routing/messages`."""
