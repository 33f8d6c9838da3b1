"""The line under fire: processes are killed, frozen and replaced while records flow, and no record is lost.

`make chaos FAULTS=50 SEED=7 STRATEGY=signpost` strikes so often on Apache Kafka; `make test` strikes a few times on
both brokers. The seed decides which faults strike, whom and after how long; which record is hit is up to the machine.
"""
