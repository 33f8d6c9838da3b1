"""Tests of `roles`."""
