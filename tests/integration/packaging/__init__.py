"""Tests of what is installed: one import name, next to other people's packages."""
