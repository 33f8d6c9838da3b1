"""The packages of the peers."""

from __future__ import annotations

from benchmarks.peers.install import packages


def test_packages_are_separated_with_their_hashes() -> None:
    kafka = "kafka==1 \\\n    --hash=sha256:a \\\n    --hash=sha256:b"
    redis = "redis==2 ; os == 'y' \\\n    --hash=sha256:c"
    assert list(packages(f"# made by\n{kafka}\n    # via x\n{redis}\n")) == [kafka, redis]
