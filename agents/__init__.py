"""Agents carry: what a line's author imports, and the Faust agents that move records."""

from agents.line import Line, Service, service
from agents.lookups import lookup, lookup_table
from routing.outcome import Drop, Retry

__all__ = ["Drop", "Line", "Retry", "Service", "lookup", "lookup_table", "service"]
