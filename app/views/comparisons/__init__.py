"""The pages of comparisons: their results beside each other, and those that run."""
