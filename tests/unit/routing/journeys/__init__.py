"""Tests of `routing/journeys`."""
