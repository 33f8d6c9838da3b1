"""One record as JSON: read, compared and laid over. Knows no envelope and no rule."""
