"""What an operator asks of a running line, for the command and for the pages alike."""
