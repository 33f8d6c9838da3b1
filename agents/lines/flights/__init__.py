"""The line flights: the 336,776 departures from New York in 2013, looked up, sorted into claims and logged."""
