"""What travels on the bus, and its wire format. Imports `records` only."""
