"""Services in real workers: what they hold, batches, and types of records."""
