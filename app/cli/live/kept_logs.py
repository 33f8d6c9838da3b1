"""The folder of the logs of a command, which is kept if the command ends with an error."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metroline.app.cli.terminal import say


@contextmanager
def kept_logs() -> Iterator[Path]:
    """Yield a folder for logs. It is removed with its block, unless that raises; then a line says where it is."""
    folder = Path(tempfile.mkdtemp(prefix="metroline-"))
    try:
        yield folder
    except Exception:
        if any(file.stat().st_size for file in folder.rglob("*") if file.is_file()):
            say(f"the logs are kept in {folder}", err=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
