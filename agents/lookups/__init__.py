"""Lookups: memory-mapped, read-only tables that services look things up in, one copy for all workers of a machine."""

from agents.lookups.made import LookupTable, lookup_table
from agents.lookups.reader import Lookup, lookup

__all__ = ["Lookup", "LookupTable", "lookup", "lookup_table"]
