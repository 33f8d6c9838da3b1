"""`metroline cost`: the bill of a month on SQS and on a managed Kafka cluster."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click

from metroline.agents.formats.names import JSON
from metroline.agents.services.line import Line
from metroline.app.cli.console import print_rows
from metroline.app.cli.options import (
    FILE,
    RecordsCommand,
    json_option,
    line_option,
    records_option,
    seed_option,
    write_json,
)
from metroline.app.cli.rate import FiniteRange
from metroline.app.cli.reading_options import reading_options
from metroline.app.cli.terminal import say
from metroline.app.inputs.row_files import Reading
from metroline.app.inputs.source_records import NoRecords, check_records, records_of
from metroline.app.markup.numbers import counted
from metroline.app.operations.bill import MONTH_DAYS, PRICES, Bill, KafkaPrices, Prices, SqsPrices, bill
from metroline.app.operations.measured_calls import Measured, MonthOfCalls, measured_calls
from metroline.app.operations.recent_flow import Flow, NoFlow, recent_flow
from metroline.app.settings import Settings

MAX_RECORDS = 100_000
"""Records that are looked at. Those behind them are taken to be like them."""

HEADS = ("way", "records a message", "calls", "dollars")


@click.command(cls=RecordsCommand)
@line_option
@records_option(None)
@click.option("--rate", type=FiniteRange(0.001, 1e9), help="Records per second, in the mean of a month.")
@click.option(
    "--gather",
    type=FiniteRange(0.001, 86_400),
    default=1.0,
    show_default=True,
    help="Seconds within which records share messages and calls.",
)
@click.option("--fifo", is_flag=True, help="Use the price of FIFO queues.")
@click.option("--prices", "prices_file", type=FILE, help="File with prices. Default: the one that Metroline has.")
@seed_option
@reading_options
@json_option("the bills")
def cost(
    line: str | None,
    records: str | None,
    rate: float | None,
    gather: float,
    fifo: bool,
    prices_file: Path | None,
    seed: int,
    reading: Reading,
    json_file: Path | None,
) -> None:
    """Show what a month of records costs on SQS, packed and not.

    The calls, chunks and bytes are those of the records in a file, up to 100,000, as the ends of a line send them.
    Without --records, they are those of the latest records on the source topic of a line that runs, in the Kafka
    cluster at BROKER_URL, with their rate, and the calls that its live workers have made to its queues stand beside
    what is computed. A Kafka cluster that is billed by its use is compared. Nothing is sent.

    \b
    Example: metroline cost --records orders.jsonl.gz --rate 600
    """
    settings = Settings.read(line=line)
    loaded = Line.load(settings.line)
    prices = Prices.read(prices_file or PRICES)
    measured = None
    if records is None:
        flow = _recent(settings, loaded, rate)
        measured = asyncio.run(measured_calls(settings, loaded, prices.sqs))
    elif rate is None:
        raise click.UsageError("--records needs --rate: the number of records that come each second")
    else:
        check_records(records)
        flow = Flow(list(islice(records_of(records, loaded, seed, reading=reading), MAX_RECORDS)), rate)
        if not flow.records:
            raise NoRecords(f"{records}: there are no records")
    made = bill(flow.records, flow.rate, prices, gather=gather, partitions=settings.source_partitions, fifo=fifo)
    if json_file is not None:
        write_json(_as_json(made, measured, prices), json_file)
    else:
        _show(made, measured, prices)


def _recent(settings: Settings, line: Line, rate: float | None) -> Flow:
    """Return the records that came latest, with their rate or the one that is given; raise `NoFlow`."""
    name, setting = settings.format_of_source(line)
    if name != JSON:
        raise NoFlow(
            f"the source has the format {name} ({setting}), and its messages do not show the size of its records as "
            "JSON: write --records FILE and --rate R"
        )
    return recent_flow(settings.cluster(), settings.topics(line).source, rate)


def _as_json(made: Bill, measured: Measured | None, prices: Prices) -> dict[str, object]:
    ways = [asdict(one) | {"calls": one.calls} for one in made.sqs]
    return {
        "records_per_second": made.rate,
        "record_bytes": made.record_bytes,
        "days": MONTH_DAYS,
        "sqs": ways,
        "measured": None if measured is None else asdict(measured),
        "kafka": asdict(made.kafka),
        "prices": prices.model_dump(),
    }


def _show(made: Bill, measured: Measured | None, prices: Prices) -> None:
    kafka = made.kafka
    computed = "SQS" if measured is None else "SQS, computed"
    rows = [
        (f"{computed}, {one.way}", f"{one.records_per_message:,.1f}", f"{one.calls:,.0f}", f"{one.dollars:,.2f}")
        for one in made.sqs
    ]
    rows += [_as_measured(one) for one in (() if measured is None else measured.queues)]
    rows.append((f"{kafka.name}, {kafka.gb_in:,.1f} GB in and out", "", "", f"{kafka.dollars:,.2f}"))
    title = f"a month of {made.rate:,g} records per second, {made.record_bytes:,.0f} bytes each"
    print_rows(title, HEADS, [dict(zip(HEADS, row, strict=True)) for row in rows], HEADS[1:])
    if measured is not None:
        _tell_of(measured)
    say(f"prices: SQS {_origin(prices.sqs)}, Kafka {_origin(prices.kafka)}")


def _as_measured(month: MonthOfCalls) -> tuple[str, str, str, str]:
    queue = "the source" if month.end is None else f"the end {month.end}"
    by = f"{counted(month.workers, 'worker')} for at least {month.seconds:,.0f} s"
    return f"SQS, as measured, {queue}, {by}", "", f"{month.billed_calls:,.0f}", f"{month.dollars:,.2f}"


def _tell_of(measured: Measured) -> None:
    """Say which calls are among those as measured, and which are not."""
    for url in measured.missing:
        say(f"the worker at {url} gave no answer that can be used: its calls are not among those as measured")
    if measured.queues:
        say(
            "as measured: long polls that found nothing are among the calls; those of others, who send to the source "
            "and receive from the ends, are not"
        )
    elif not measured.missing:
        say("as measured: nothing, since no worker that uses a queue is alive; the bill is computed alone")


def _origin(prices: SqsPrices | KafkaPrices) -> str:
    if prices.assumed:
        return f"of {prices.date}, an assumption: compare it with {prices.source}, and see --prices"
    return f"of {prices.date} ({prices.source})"
