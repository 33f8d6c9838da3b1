"""One service at work on its input."""
