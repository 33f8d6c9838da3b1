"""Journeys that ended: found on their topics, searched, and told as timelines.

Rule: Reads what workers keep of journeys. Writes nothing.
"""
