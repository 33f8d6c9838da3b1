"""Faust and Kafka: take a message, ask `routing` once, send what comes of it, acknowledge."""

if __name__ == "agents":
    raise ImportError('write "from metroline import service": the package agents is now metroline', name=__name__)
