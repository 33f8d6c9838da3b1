"""The web server of a worker: which requests it accepts, and what every answer carries. Knows no page."""
