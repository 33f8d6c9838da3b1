"""`metroline broker`: the embedded broker alone."""

from __future__ import annotations

from pathlib import Path

import click

from metroline.app.cli.options import json_option, write_json
from metroline.app.cli.terminal import say
from metroline.app.local.embedded_broker import EmbeddedBroker
from metroline.app.local.stop_signal import stop_signal

POLL_SECONDS = 0.2


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65_535), default=9092, show_default=True, help="Port of the broker on 127.0.0.1."
)
@json_option("the address of the broker, once it answers,")
def broker(port: int, json_file: Path | None) -> None:
    """Run the embedded broker alone until Ctrl-C.

    The broker keeps everything in memory, so all messages are lost when it ends.

    \b
    Example: metroline broker --port 19092
    """
    with EmbeddedBroker.start(port) as running:
        if json_file is not None:
            write_json({"url": running.url, "port": running.port}, json_file)
        else:
            say(f"broker: {running.url} (in memory only; Ctrl-C ends it)")
        stopped = stop_signal()
        while not stopped.wait(POLL_SECONDS):
            running.check()
