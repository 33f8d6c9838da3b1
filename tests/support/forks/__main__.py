"""The fork server: prints its address and runs until its standard input is closed.

Each process that it forks leaves `serve()`, too, and goes on here.
"""

import gc
import importlib
import shutil
import signal
from pathlib import Path
from tempfile import mkdtemp

import uvloop  # noqa: F401 - a worker imports it when it runs

from metroline.app import factory, faust_worker  # noqa: F401 - and these
from metroline.app.cli import COMMANDS, main
from metroline.app.local.worker_process import WorkerProcess
from tests.support.forks.client import SERVER, start_worker
from tests.support.forks.server import ForkServer

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
for entry in COMMANDS.values():
    importlib.import_module(f"metroline.app.cli.{entry.module}")
folder = Path(mkdtemp(prefix="metroline-forks-"))
SERVER.address = str(folder / "socket")
WorkerProcess.start = start_worker  # type: ignore[method-assign] # the workers of `compare` and `up`
gc.collect()
gc.freeze()  # memory that the collector does not touch stays shared

server = ForkServer(SERVER.address)
print(SERVER.address, flush=True)
if server.serve() is None:
    shutil.rmtree(folder)
else:
    main()
