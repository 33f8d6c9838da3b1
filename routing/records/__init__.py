"""Single records as JSON: reading, comparing and merging. Knows neither envelopes nor rules."""
