"""Rules tables: reading, checking, deciding, planning and explaining."""
