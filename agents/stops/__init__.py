"""Stops: the agent that runs one service on the records of its topic."""
