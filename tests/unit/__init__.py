"""No broker, no clock."""
