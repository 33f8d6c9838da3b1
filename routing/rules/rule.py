"""One rule of a table, and how problems name it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

Text = Annotated[str, Field(strict=True, min_length=1)]


Scalar = StrictBool | StrictInt | StrictFloat | StrictStr


class Rule(BaseModel):
    """One rule of the table, immutable: after which stop, for which records, and where to or why they are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text = ""
    after: Text
    match: dict[str, Scalar] = Field(default_factory=dict)
    when: Text | None = None
    to: Text | None = None
    drop: Text | None = None

    @property
    def is_unconditional(self) -> bool:
        return not self.match and self.when is None


def label_of(index: int, rule: Rule) -> str:
    """A rule as a problem names it: by its name or, where it has none, by its place."""
    return label_of_data(index, {"name": rule.name} if rule.name != f"rule {index + 1}" else {})


def label_of_data(index: int, table: Any) -> str:
    name = table.get("name") if isinstance(table, dict) else None
    return f"rule {name!r}" if isinstance(name, str) and name else f"rule {index + 1}"
