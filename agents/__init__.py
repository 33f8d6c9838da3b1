"""Faust and Kafka: take a message, ask `routing` once, send what comes of it, acknowledge."""
