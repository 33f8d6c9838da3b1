"""The pages of dead letters: those of the line, those of other systems, and the jobs that replay them."""
