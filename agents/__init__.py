"""Faust and Kafka: take a message, call `routing` once, send the result, acknowledge the message."""
