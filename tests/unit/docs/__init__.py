"""Unit tests of the documentation: pages that repeat facts of the code are checked against it."""
