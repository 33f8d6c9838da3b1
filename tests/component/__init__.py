"""Component tests: one agent at a time, in Faust's `test_context`."""
