"""Services in real workers: what they hold, and batches."""
