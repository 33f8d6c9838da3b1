"""A history keeps a bounded part of the pulses of a worker, by time and by number."""

from __future__ import annotations

from metroline.agents.pulses.pulse import Pulse
from metroline.agents.pulses.worker_history import MAX_PULSES, WorkerHistory


def pulse(at: float) -> Pulse:
    return Pulse("one", "http://one:6066", "line@all", ("arrivals",), "signpost", 1, 1.0, at, entered=int(at * 100))


def test_pulses_whose_times_hardly_differ_are_not_kept_without_end() -> None:
    history = WorkerHistory(pulse(100.0), 100.0, is_live=True)
    for step in range(1_000):
        history.add(pulse(100.0 + step / 1_000), 100.0, is_live=True)
    assert (len(history._recent), len(history._kept)) == (MAX_PULSES, 1)


def test_a_pulse_a_second_is_kept_for_the_whole_stretch_of_rates_and_percentiles() -> None:
    history = WorkerHistory(pulse(100.0), 100.0, is_live=True)
    for second in range(101, 160):
        history.add(pulse(second), second, is_live=True)
    assert history.rate(lambda one: one.entered) == 100
    assert history.grown(lambda one: one.entered) >= 3_000
