"""Chaos tests: processes are killed, frozen and replaced while records flow, and no record is lost.

`make chaos FAULTS=50 SEED=7 STRATEGY=signpost` injects this many faults on Apache Kafka; `make test-long` injects a few
on both brokers. The seed determines the faults, their targets and their timing; which records they affect depends on
the machine.
"""
