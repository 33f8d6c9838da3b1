"""Certificates for servers and clients of tests, each signed by itself."""

from __future__ import annotations

import shutil
from pathlib import Path

from metroline.app.local.ports import HOST
from tests.support.brokers import run, unavailable


def certified(folder: Path, name: str, *, is_expired: bool = False) -> Path:
    """Return a file with a certificate for this machine and its key, signed by itself."""
    if shutil.which("openssl") is None:
        unavailable("openssl is not installed; it makes certificates")
    file = folder / f"{name}.pem"
    words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={name}".split()
    run(["openssl", *words, "-addext", f"subjectAltName=IP:{HOST}", "-keyout", str(file), "-out", f"{file}.crt"])
    if is_expired:
        again = ["-in", f"{file}.crt", "-signkey", str(file), "-days", "-1", "-out", f"{file}.crt"]
        run(["openssl", "x509", *again])
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file
