"""`metroline broker`: the embedded broker alone."""

from __future__ import annotations

import click

from metroline.app.cli.terminal import say
from metroline.app.local.embedded_broker import EmbeddedBroker
from metroline.app.local.stop_signal import stop_signal

POLL_SECONDS = 0.2


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65_535), default=9092, show_default=True, help="Port of the broker on 127.0.0.1."
)
def broker(port: int) -> None:
    """Run the embedded broker alone until Ctrl-C.

    The broker keeps everything in memory, so all messages are lost when it ends.

    \b
    Example: metroline broker --port 19092
    """
    with EmbeddedBroker.start(port) as running:
        say(f"broker: {running.url} (in memory only; Ctrl-C ends it)")
        stopped = stop_signal()
        while not stopped.wait(POLL_SECONDS):
            running.check()
