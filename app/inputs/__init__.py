"""Users' files become records, source messages and rows of lookups."""
