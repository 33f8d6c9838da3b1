"""Queues of SQS as the source and as ends of lines, on a real server with its protocol."""
