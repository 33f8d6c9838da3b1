"""The fate of records at each place they come to, as values: segments in, (address, segment) out."""
