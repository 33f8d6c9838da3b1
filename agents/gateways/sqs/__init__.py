"""Queues of Amazon SQS, or of a server with its protocol, as a source and as ends of a line."""
