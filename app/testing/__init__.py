"""Tests of lines: takes records through a line in memory, and compares their journeys with those expected."""
