"""The line webhooks."""
