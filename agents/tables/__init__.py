"""State in Faust tables, and what is read back from their changelogs."""
