"""What things cost: measured, never asserted from memory."""
