"""The messages of the bus and their wire format. Imports only `records` and the modules at the top of `routing`."""
