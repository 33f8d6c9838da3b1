"""Integration tests of the documentation: it builds as a site."""
