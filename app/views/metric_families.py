"""Short forms of the metric families of prometheus_client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, SummaryMetricFamily
from prometheus_client.metrics_core import Metric

from metroline.agents.delivery.journey_metrics import HandlingTime, Histogram

Labels = TypeVar("Labels", bound=tuple[str, ...])
"""The values of some labels, in order."""


def gauge(name: str, help: str, value: float) -> Metric:
    """Return a gauge without labels."""
    return GaugeMetricFamily(name, help, value)


def gauges(name: str, help: str, labels: list[str], values: Mapping[Labels, float]) -> Metric:
    """Return a gauge with a value for each combination of labels."""
    return _filled(GaugeMetricFamily(name, help, labels=labels), values)


def counter(name: str, help: str, value: float) -> Metric:
    """Return a counter without labels. Its name gets the suffix `_total`."""
    return CounterMetricFamily(name, help, value)


def counters(name: str, help: str, labels: list[str], values: Mapping[Labels, float]) -> Metric:
    """Return a counter with a value for each combination of labels. Its name gets the suffix `_total`."""
    return _filled(CounterMetricFamily(name, help, labels=labels), values)


def histogram(name: str, help: str, values: Histogram) -> Metric:
    """Return a histogram. Its bounds are cumulative and end with infinity."""
    buckets = [("+Inf" if bound == float("inf") else str(bound), count) for bound, count in values.cumulative()]
    return HistogramMetricFamily(name, help, buckets, values.sum)


def summaries(name: str, help: str, label: str, values: Mapping[str, HandlingTime]) -> Metric:
    """Return the number of records and their seconds, for each value of a label."""
    family = SummaryMetricFamily(name, help, labels=[label])
    for value, handled in values.items():
        family.add_metric([value], handled.records, handled.seconds)
    return family


def one_label(values: Mapping[str, float]) -> dict[tuple[str], float]:
    """Return values by a single label as `gauges` and `counters` take them."""
    return {(label,): value for label, value in values.items()}


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[Labels, float]) -> Metric:
    for combination, value in values.items():
        family.add_metric(combination, value)
    return family
