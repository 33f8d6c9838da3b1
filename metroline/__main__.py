"""`python -m metroline` is the command `metroline`."""

from metroline.app.cli import main

main()
