"""Text, numbers and times as people read them, and HTML that escapes. Imports nothing of ours."""
