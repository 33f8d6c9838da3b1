"""Gateways to systems other than Kafka: ends and sources of a line there. Knows neither Kafka nor envelopes."""
