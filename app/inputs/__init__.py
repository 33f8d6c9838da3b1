"""Reads users' files: their rows become records, source messages and entries of lookups."""
