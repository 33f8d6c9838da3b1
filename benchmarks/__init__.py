"""What Metroline costs: measured beside other ways to do the same work, never asserted from memory."""
