"""Requests to HTTP servers with several nodes: logins, TLS and the next node. Knows neither Kafka nor any product."""
