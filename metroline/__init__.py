"""Smart routing on a dumb bus: the names that the author of a line imports."""

from metroline.agents.lookups import lookup
from metroline.agents.services.lookup_table import lookup_table
from metroline.agents.services.resource import resource
from metroline.agents.services.service import Record, service
from metroline.routing.meta import Meta
from metroline.routing.outcome import Drop, Retry, Wait

__all__ = ["Drop", "Meta", "Record", "Retry", "Wait", "lookup", "lookup_table", "resource", "service"]
