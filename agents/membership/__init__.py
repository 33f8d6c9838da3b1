"""Which workers are alive, and which part of the line each of them plays."""
