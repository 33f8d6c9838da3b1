"""One agent at a time, in Faust's test_context."""
