"""Faust and Kafka: take a message, call `routing` once, send the result, acknowledge the message."""

if __name__ == "agents":
    raise ImportError('write "from metroline import service": the package agents is now metroline', name=__name__)
