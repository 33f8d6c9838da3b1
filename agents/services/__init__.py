"""What the author of a line declares, and how a line is loaded. Knows no Kafka."""
