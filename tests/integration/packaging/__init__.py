"""Tests of the installed package: one import name, next to other people's packages."""
