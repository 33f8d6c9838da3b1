"""A rule of a table, and the label by which error messages name it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

Text = Annotated[str, Field(strict=True, min_length=1)]


Scalar = StrictBool | StrictInt | StrictFloat | StrictStr

Wanted = Scalar | Annotated[tuple[Scalar, ...], Field(min_length=1)]
"""The value, or one of several, that a field must equal for a `match`."""


class Rule(BaseModel):
    """An immutable rule: after which stop and for which records it holds, and where it sends or why it drops them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text = ""
    after: Text
    match: dict[str, Wanted] = Field(default_factory=dict)
    when: Text | None = None
    to: Text | None = None
    drop: Text | None = None

    @property
    def is_unconditional(self) -> bool:
        """True if the rule holds for every record."""
        return not self.match and self.when is None


def alternatives(wanted: Wanted) -> tuple[Scalar, ...]:
    """Return the values of which a field must equal one."""
    return wanted if isinstance(wanted, tuple) else (wanted,)


def label_of(index: int, rule: Rule) -> str:
    """Return the label of a rule in error messages: its name or, if it has none, its position from 1 on."""
    return label_of_data(index, {"name": rule.name} if rule.name != f"rule {index + 1}" else {})


def label_of_data(index: int, table: Any) -> str:
    """Return the label of a rule that may not be valid, from its decoded TOML."""
    name = table.get("name") if isinstance(table, dict) else None
    return f"rule {name!r}" if isinstance(name, str) and name else f"rule {index + 1}"
