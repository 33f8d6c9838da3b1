"""The names that the author of a line imports in its tests."""

from metroline.app.testing.in_memory_line import UnfinishedJourney
from metroline.app.testing.journey import Journey, Visited
from metroline.app.testing.messages import Message
from metroline.app.testing.run import StrategiesDiffer, run_line, run_line_async

__all__ = ["Journey", "Message", "StrategiesDiffer", "UnfinishedJourney", "Visited", "run_line", "run_line_async"]
