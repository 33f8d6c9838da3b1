"""Formats of messages other than JSON: bytes to records and back, with the schemas of a registry.

The libraries of a format are imported when it is used.
"""
