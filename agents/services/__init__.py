"""The declarations of a line's author, and the loading of lines. Knows nothing of Kafka."""
