"""`metroline up` shows the output of workers as it comes, and one line of counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from metroline.app.cli.live.counts import LiveCounts
from metroline.app.cli.live.events import Event, Output
from metroline.app.cli.live.kept_logs import kept_logs
from metroline.app.cli.live.output import MAX_LINES, WorkerOutput
from metroline.app.cli.live.status_line import PIPE_SECONDS, StatusLine
from metroline.routing.errors import MetrolineError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def traffic(retries: int = 0, behind: float = 0.0) -> dict[str, float]:
    return {"retries": retries, "behind": behind, "behind_bus": 0.0}


def test_a_pipe_gets_the_state_every_ten_seconds_if_it_has_changed(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    status = StatusLine(is_terminal=False, clock=clock)
    for second in range(31):
        clock.now = float(second)
        status.show(f"{min(second, 15)} delivered")
    assert PIPE_SECONDS == 10
    assert capsys.readouterr().out.splitlines() == ["10 delivered", "15 delivered"]


@pytest.mark.parametrize(("lines", "last"), [([], []), (["a line"], ["15 delivered"])])
def test_the_last_line_of_a_pipe_is_the_state(
    lines: list[str], last: list[str], clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the same state was printed before the last lines."""
    status = StatusLine(is_terminal=False, clock=clock)
    clock.now = PIPE_SECONDS
    status.show("15 delivered")
    for line in lines:
        status.say(line)
    status.end()
    assert capsys.readouterr().out.splitlines() == ["15 delivered", *lines, *last]


def test_a_terminal_keeps_the_state_below_all_lines(capsys: pytest.CaptureFixture[str]) -> None:
    status = StatusLine(is_terminal=True)
    status.show("1 delivered")
    status.say("price | \x1b[31mred")
    status.show("2 delivered")
    status.end()
    cleared = "\r\x1b[2K"
    shown = ["", "1 delivered", "price | \\x1b[31mred\n", "1 delivered", "2 delivered", "2 delivered\n"]
    assert capsys.readouterr().out.split(cleared) == shown


def test_the_state_takes_one_row_of_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    StatusLine(is_terminal=True).show("1,204 delivered, 118 dropped")
    assert capsys.readouterr().out == "\r\x1b[2K1,204 delivered, 1…"


def test_counts_say_what_became_of_records_and_how_fast(clock: Clock) -> None:
    counts = LiveCounts(clock)
    first = counts.look({"totals": {"delivered": 0, "dropped": 0, "dead": 0}}, {"1": traffic()})
    assert first.text == "0 delivered, 0 dropped, 0 dead; 0 records/s"
    clock.now = 2.0
    totals = {"delivered": 1_200, "dropped": 30, "dead": 10}
    assert counts.look({"totals": totals}, {"1": traffic(retries=1), "2": traffic(behind=3.0)}).text == (
        "1,200 delivered, 30 dropped, 10 dead; 1 retry; 620 records/s; behind by 3 s"
    )
    ticks = counts.look({"totals": totals | {"dead": 13}, "scheduled": {"nightly": 1, "weekly": 2}}, {})
    assert ticks.text.startswith("1,200 delivered, 30 dropped, 13 dead; 3 of these by schedules;")


def test_counts_go_on_over_a_change_of_workers(clock: Clock) -> None:
    counts = LiveCounts(clock)
    counts.look({"totals": {"delivered": 50, "dropped": 0, "dead": 2}}, {"1": traffic(retries=3)})
    clock.now = 1.0
    while_it_recovers = counts.look({"totals": {"delivered": 0, "dropped": 0, "dead": 0}}, {"2": traffic(retries=4)})
    assert while_it_recovers.text.startswith("50 delivered, 0 dropped, 2 dead; 7 retries")
    assert counts.look(None, {}).text.startswith("50 delivered, 0 dropped, 2 dead; 7 retries")
    discarded = counts.look({"totals": {"delivered": 50, "dropped": 2, "dead": 0}}, {})
    assert discarded.text.startswith("50 delivered, 2 dropped, 0 dead")


class Told:
    """Notes the events that it is told, and their lines."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.lines: list[str] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.lines.extend(event.lines())


def test_output_is_told_as_lines_are_completed(tmp_path: Path) -> None:
    told = Told()
    output, log = WorkerOutput(told), tmp_path / "log"
    log.write_bytes(b"price | one\npri")
    output.look([log], ["price"])
    assert told.lines == ["price | one"]
    with log.open("ab") as more:
        more.write(b"ce | two\nrest \xff")
    output.look([log], ["price"])
    assert told.lines == ["price | one", "price | two"]
    output.look([log], ["price"], is_last=True)
    assert told.lines[2:] == ["rest \ufffd"]


def test_a_line_of_output_has_the_stop_whose_service_wrote_it(tmp_path: Path) -> None:
    told, log = Told(), tmp_path / "log"
    log.write_text("price | a | b\nother | c\n[WARNING] d\n")
    WorkerOutput(told).look([log], ["price"])
    assert told.events == [
        Output("price", "a | b", str(log)),
        Output(None, "other | c", str(log)),
        Output(None, "[WARNING] d", str(log)),
    ]


def test_a_flood_of_output_is_left_to_the_log(tmp_path: Path) -> None:
    told = Told()
    log = tmp_path / "log"
    log.write_text("".join(f"{number}\n" for number in range(MAX_LINES + 5)))
    WorkerOutput(told).look([log], [])
    assert told.lines[:2] == [f"5 lines more are in {log}", "5"]
    assert len(told.lines) == MAX_LINES + 1


def test_logs_are_kept_only_after_an_error_and_it_is_said_where(capsys: pytest.CaptureFixture[str]) -> None:
    with kept_logs() as folder:
        (folder / "log").write_text("all is well")
    assert not folder.exists()
    with pytest.raises(MetrolineError), kept_logs() as folder:  # noqa: PT012 - the error is raised within the block
        (folder / "log").write_text("it is not")
        raise MetrolineError("the broker died")
    assert capsys.readouterr().err == f"the logs are kept in {folder}\n"
    assert (folder / "log").read_text() == "it is not"
    with pytest.raises(MetrolineError), kept_logs() as empty:
        raise MetrolineError("nothing was started")
    assert not empty.exists()
