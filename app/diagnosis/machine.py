"""Checks of this machine: Python, packages, folders, ports, and the embedded broker."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import time

from metroline.agents.lookups.paths import folder
from metroline.app.diagnosis.finding import Finding, error, ok, warning
from metroline.app.diagnosis.requirements import misfits, own_version, shown_versions
from metroline.app.local.embedded_broker import BrokerMissing, find_binary
from metroline.app.local.ports import PortInUse, check_free
from metroline.app.settings import Settings
from metroline.app.web_server.host_names import is_open_to_strangers

LEAST_FREE_BYTES = 200 * 1024 * 1024
"""Free bytes of the folder for temporary files from which on nothing is said."""

EARLIEST = 1_767_225_600
"""A time at which this version was not written yet, in seconds since the epoch: 2026-01-01."""


def examine_python() -> Iterator[Finding]:
    """Check Python and the packages."""
    system = f"{platform.system()} {platform.machine()}"
    yield ok("python", f"Python {platform.python_version()} on {system} ({sys.executable})")
    installed = own_version()
    if installed is None:
        yield warning("versions", "metroline is not installed as a package", "pip install metroline")
        return
    problems = list(misfits())
    for problem in problems:
        yield error("versions", problem, "pip install --upgrade metroline, in an environment of its own")
    if not problems:
        yield ok("versions", f"metroline {installed}; {', '.join(shown_versions())}")


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Check the folders, the port of the web server, the embedded broker and the clock of this machine."""
    yield _temporary_files()
    yield _lookup_folder()
    try:
        check_free(settings.web_bind, settings.web_port, "the port")
        yield ok("web port", f"port {settings.web_port} of {settings.web_bind} is free")
    except PortInUse as problem:
        yield warning("web port", str(problem).partition(":")[0], "a worker may run here; another one needs a WEB_PORT")
    if is_open_to_strangers(settings.web_bind, settings.metroline_token):
        told = f"whoever reaches port {settings.web_port} of {settings.web_bind} can read records without a login"
        yield warning("login", told, "set METROLINE_TOKEN, or WEB_BIND=127.0.0.1")
    try:
        with tempfile.TemporaryDirectory(prefix="metroline-") as below:
            find_binary(Path(below))
        yield ok("embedded broker", "it is available for this machine")
    except BrokerMissing as problem:
        yield warning("embedded broker", str(problem))
    if time() < EARLIEST:
        yield error("clock", "the clock of this machine is wrong by months", "set it, and keep it right by NTP")


def _temporary_files() -> Finding:
    where = tempfile.gettempdir()
    free = shutil.disk_usage(where).free
    if free < LEAST_FREE_BYTES:
        return warning("temporary files", f"{where} has {free // 2**20} MiB left", "free some, or set TMPDIR")
    return ok("temporary files", f"{where} has {free // 2**20:,} MiB left")


def _lookup_folder() -> Finding:
    where = folder()
    above = next(one for one in (where, *where.parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as problem:
        return warning("lookups", f"{where} cannot be written to ({problem.strerror})", "set LOOKUP_DIR")
    return ok("lookups", f"are kept in {where}")
