"""The line flights: the 336,776 departures from New York in 2013 are enriched, checked for claims, and logged."""
