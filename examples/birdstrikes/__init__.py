"""The line birdstrikes."""
