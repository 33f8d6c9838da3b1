"""State in Faust tables, and reading their changelogs."""
