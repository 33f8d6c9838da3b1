"""Read-only tables on disk in which services look things up. Imports only `routing.errors`."""

from metroline.agents.lookups.reader import Lookup, lookup

__all__ = ["Lookup", "lookup"]
