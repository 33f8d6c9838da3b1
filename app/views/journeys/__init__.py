"""The pages of journeys that ended: a search, and the timeline of each.

Rule: Shows what `operations/journeys` finds. Works without scripts.
"""
