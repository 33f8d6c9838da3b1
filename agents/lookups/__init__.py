"""Lookups: read-only tables on disk that the services of a line look things up in."""

from metroline.agents.lookups.reader import Lookup, lookup

__all__ = ["Lookup", "lookup"]
