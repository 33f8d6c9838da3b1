"""The benchmark's judgement: what counts as the same result, what meets a target, what a profile says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from benchmarks.peers.install import packages
from benchmarks.report.charts import Bar, bar_chart, is_logarithmic
from benchmarks.report.report import render, spread
from benchmarks.report.results import Results
from benchmarks.report.targets import Entries, Verdict, verdicts
from benchmarks.systems.expected import WARM_UP, Delivered, make_work, metrobus
from benchmarks.systems.made_lines import HARDER, WAYS, many_routes, passing
from benchmarks.systems.profiling import read_stacks, shares
from metroline.agents.lines.metrobus import services
from metroline.agents.services.line import Line
from metroline.app.inputs.lookup_builds import prepare_lookups

Record = dict[str, Any]


def through_the_services(record: Record) -> Record | str:
    """The line once more, by its own services."""
    for stop in (services.contact_point, services.allow_list, services.log):
        record = stop(record)
        if "hold" in record:
            return str(record["hold"])
    return record


def test_what_is_expected_of_the_line_is_what_its_services_do() -> None:
    prepare_lookups(Line.load("metroline.agents.lines.metrobus"))
    messages = make_work(500).messages
    assert [metrobus(orjson.loads(message)) for message in messages] == [
        through_the_services(orjson.loads(message)) for message in messages
    ]


def test_packed_work_is_the_same_work() -> None:
    single, packed = make_work(101), make_work(101, pack=49)
    assert [message.count(b"\n") + 1 for message in packed.messages] == [49, 49, 3]
    assert packed.expected == single.expected
    assert single.expected.records == 101
    assert single.warmed_up.records == WARM_UP


def delivered(records: list[Record]) -> Delivered:
    found = Delivered()
    found.add(records)
    return found


def good() -> list[Record]:
    fates = (metrobus(orjson.loads(message)) for message in make_work(50).messages)
    return [fate for fate in fates if not isinstance(fate, str)]


def test_the_same_records_in_another_order_are_the_same_result() -> None:
    assert delivered(good()[::-1]).problems(make_work(50).expected) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda records: records[1:], "1 records lost"),
        (lambda records: [records[0] | {"balance": 0}, *records[1:]], "1 records with another content"),
        (lambda records: [*records, records[0] | {"balance": 0}], "1 records with another content"),
        (lambda records: [*records, {"message_id": "a stranger"}], "1 records not expected, a stranger for one"),
    ],
)
def test_a_result_that_differs_is_told(spoil: Any, said: str) -> None:
    (problem,) = delivered(spoil(good())).problems(make_work(50).expected)
    assert said in problem


def test_records_that_come_again_are_counted_apart() -> None:
    records = good()
    found = delivered([*records, records[0], records[0]])
    assert found.problems(make_work(50).expected) == []
    assert found.repeated == 2


def rounds(**figures: list[float]) -> dict[str, Any]:
    return {"rounds": [dict(zip(figures, values, strict=True)) for values in zip(*figures.values(), strict=True)]}


def judged(
    sections: Mapping[str, Entries], memory: dict[str, Any] | None = None, broker: str = "kafka"
) -> list[Verdict]:
    """The verdicts that were reached, when only this broker has results."""
    found = verdicts(lambda section, where: sections.get(section, {}) if where == broker else {}, memory or {})
    return [verdict for verdict in found if verdict.is_met is not None]


@pytest.mark.parametrize(("cpu", "is_met"), [([0.2, 0.25, 0.9], True), ([0.2, 0.2501, 0.26], False)])
def test_the_median_of_the_rounds_is_judged(cpu: list[float], is_met: bool) -> None:
    (verdict,) = judged({"throughput": {"signpost": rounds(cpu_per_10k=cpu)}})
    assert verdict.is_met is is_met


def test_a_conductor_is_judged_by_a_map_maker_of_the_same_run() -> None:
    entries = {"conductor": rounds(cpu_per_10k=[0.4]), "map_maker": rounds(cpu_per_10k=[0.2])}
    verdict = next(each for each in judged({"throughput": entries}) if "conductor" in each.target)
    assert (verdict.figure, verdict.is_met) == ("2.00", False)


def test_the_embedded_broker_is_allowed_a_later_percentile_than_kafka() -> None:
    entries = {"latency": {"signpost": rounds(p50=[9.0], p99=[40.0])}}
    assert [verdict.is_met for verdict in judged(entries)] == [True, False]
    assert [verdict.is_met for verdict in judged(entries, broker="embedded")] == [True]


@pytest.mark.parametrize(
    ("twelve", "figure", "is_met"), [(1.2, "0 %", True), (1.5, "25 %", False), (0.9, "-25 %", True)]
)
def test_a_stop_may_cost_a_record_no_more_in_a_longer_line(twelve: float, figure: str, is_met: bool) -> None:
    entries = {"signpost/3": rounds(cpu_per_10k=[0.3]), "signpost/12": rounds(cpu_per_10k=[twelve])}
    (verdict,) = judged({"stops": entries})
    assert (verdict.figure, verdict.is_met) == (figure, is_met)


@pytest.mark.parametrize(("last", "is_met"), [(109.0, True), (91.0, True), (111.0, False), (89.0, False)])
def test_memory_may_neither_grow_nor_shrink_much(last: float, is_met: bool) -> None:
    (verdict,) = judged({}, {"long": {"megabytes": {"1000000": 100.0, "9000000": 70.0, "10000000": last}}})
    assert verdict.is_met is is_met


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert judged({}) == []
    assert all(verdict.figure is None for verdict in verdicts(lambda section, broker: {}, {}))


def test_a_report_is_rendered_of_what_there_is_and_names_what_was_left_out(tmp_path: Any) -> None:
    results = Results(tmp_path / "results")
    entry = {"at": "today", "commit": "abc", "command": "make it so"}
    one = {"records": 10, "cpu_per_10k": 0.2, "records_per_second": 5_000, "peak_megabytes": 90}
    results.write("throughput", "kafka", "signpost", entry | {"rounds": [one, one | {"cpu_per_10k": 0.4}]})
    results.write("throughput", "kafka", "quix_streams", entry | {"rounds": [], "left_out": "it is not here"})
    text = render(results, tmp_path).read_text("utf-8")
    assert "| Metroline `signpost` | 10 | 0.30 (0.20 to 0.40) |" in text
    assert "- Quix Streams, throughput: it is not here" in text
    assert "| 0.300 | **not met** |" in text
    assert "(charts/cpu-per-10k-kafka.svg)" in text
    assert (tmp_path / "charts" / "cpu-per-10k-kafka.svg").read_text().count("<rect") == 2


def test_one_round_has_no_spread() -> None:
    assert spread({"a": rounds(p50=[1.25])}, "a", "p50", 1) == "1.2"


def test_bars_that_lie_far_apart_are_drawn_on_a_logarithmic_scale() -> None:
    assert is_logarithmic([0.2, 18.0])
    assert not is_logarithmic([0.2, 1.0])
    chart = bar_chart("<figures>", [Bar("a", 0.2, "0.2", True), Bar("b", 18.0, "18", False)])
    assert "&lt;figures&gt;" in chart


def test_a_profile_tells_own_time_from_time_within() -> None:
    stacks = read_stacks(
        [
            "main (/x/app/__main__.py:3);handle (/x/agents/stop.py:9);loads (/y/site-packages/json/a.py:1) 3",
            "main (/x/app/__main__.py:3);handle (/x/agents/stop.py:12) 1",
            "no sample",
        ]
    )
    found = shares(stacks)
    assert found["samples"] == 4
    assert found["own"] == {"loads (json/a.py)": 75.0, "handle (agents/stop.py)": 25.0}
    assert found["within"]["handle (agents/stop.py)"] == 100.0
    assert found["files"] == {"agents/stop.py": 100.0}


def test_made_lines_load_and_their_routes_lead_to_an_end(tmp_path: Any) -> None:
    from metroline.agents.services.line import Line

    for line in (passing(12), *(make() for make in HARDER)):
        loaded = Line.load(str(line.write(tmp_path)))
        assert set(line.first_stops) <= loaded.stops
        assert loaded.rules_table().rules
    assert len(WAYS) == 24
    assert len(many_routes().work(48).expected.contents) == 48


def test_packages_are_told_apart_with_their_hashes() -> None:
    kafka = "kafka==1 \\\n    --hash=sha256:a \\\n    --hash=sha256:b"
    redis = "redis==2 ; os == 'y' \\\n    --hash=sha256:c"
    assert list(packages(f"# made by\n{kafka}\n    # via x\n{redis}\n")) == [kafka, redis]
