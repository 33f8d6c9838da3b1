"""Questions and requests of an operator to a running line, for the command and the pages alike."""
