"""`python -m app` is the command `metroline`."""

from app.cli import main

main()
