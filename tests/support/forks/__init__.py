"""Processes that run `metroline` by forking one that has imported it, which saves seconds of CPU time for each."""
