"""The cluster and its clients: topics, partitions and bytes. Never an envelope."""
