"""Lines whose ends are in real systems other than Kafka."""
