"""Import the CEL package without its command line.

`import cel` also imports `cel.cli`, which loads typer, rich, pygments and prompt_toolkit: a third of the time that a
worker or a command needs to start. An empty module takes its place during the import. Elsewhere, `import cel.cli` works
as usual.
"""

from __future__ import annotations

import sys
from types import ModuleType

_STAND_IN = ModuleType("cel.cli")

sys.modules.setdefault("cel.cli", _STAND_IN)
import cel  # noqa: E402

if sys.modules["cel.cli"] is _STAND_IN:
    del sys.modules["cel.cli"]

__all__ = ["cel"]
