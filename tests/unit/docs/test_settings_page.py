"""The page of settings is the one that the code generates, and describes each setting completely."""

from __future__ import annotations

from pathlib import Path

import pytest

from metroline.app.settings import Settings
from scripts.settings_page import TOPICS, settings_page

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_committed_page_is_the_generated_one() -> None:
    assert PAGE.read_text("utf-8") == settings_page(), "run `make docs-settings`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_listed_once_with_its_default_and_its_description(name: str) -> None:
    field = Settings.model_fields[name]
    default = f"`{field.default}`" if field.default not in ("", None) else "none"
    assert field.description, f"{name} has no docstring"
    [row] = [line for line in settings_page().splitlines() if line.startswith(f"| `{name.upper()}` |")]
    assert row.endswith(f" | {default} | {' '.join(field.description.split())} |")


def test_every_setting_has_a_topic_and_no_topic_lists_what_does_not_exist() -> None:
    listed = [name for names in TOPICS.values() for name in names]
    assert sorted(listed) == sorted(Settings.model_fields)


def test_the_page_shows_which_values_are_accepted() -> None:
    page = settings_page()
    assert "| `WEB_PORT` | whole number from 1 to 65535 |" in page
    assert "| `BUS_COMPRESSION` | `lz4`, `zstd`, `snappy`, `gzip`, `none` |" in page
    assert "| `MAX_AGE` | number above 0 |" in page
