"""An option that `@service` does not have is answered with its place and with the one that may be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from metroline import lookup_table, service
from metroline.agents.services.line import Line
from metroline.routing.errors import InvalidLine

SERVICES = """
from metroline import service

@service(concurency=2)
async def pay(order):
    return order
"""


def test_a_misspelt_option_of_a_service_names_its_line_and_the_option_that_may_be_meant(tmp_path: Path) -> None:
    (tmp_path / "services.py").write_text(SERVICES)
    (tmp_path / "routes.toml").write_text("")
    with pytest.raises(InvalidLine) as caught:
        Line.load(str(tmp_path))
    assert str(caught.value).startswith(
        f"{tmp_path / 'services.py'}:4: @service has no option 'concurency'; there are name, concurrency, "
    )
    assert str(caught.value).endswith("; did you mean 'concurrency'?")


def test_a_misspelt_option_of_a_lookup_is_refused_as_well() -> None:
    with pytest.raises(InvalidLine, match=r"@lookup_table has no option 'kay'; .* did you mean 'key'"):
        lookup_table("accounts", kay="account")  # type: ignore[call-arg]


def test_options_that_exist_are_taken() -> None:
    @service(name="pay", attempts=2)
    def handle(order: dict[str, object]) -> dict[str, object]:
        return order

    assert handle({}) == {}
