"""The kinds of ends and sources other than topics of Kafka, by the names that `line.toml` uses."""

from __future__ import annotations

from collections.abc import Mapping

from metroline.agents.gateways.opensearch.end import OpenSearchEnd
from metroline.agents.gateways.outside_end import OutsideEnd
from metroline.agents.gateways.sqs.end import SqsEnd
from metroline.agents.gateways.sqs.options import SqsSource

KAFKA = "kafka"
"""The kind of an end or a source that names no kind."""

SOURCE_KINDS: Mapping[str, type[SqsSource] | None] = {KAFKA: None, "sqs": SqsSource}
"""The options of a source, by its kind."""

END_KINDS: Mapping[str, type[OutsideEnd]] = {"sqs": SqsEnd, "opensearch": OpenSearchEnd}
"""The options of an end, by its kind."""
