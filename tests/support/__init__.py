"""What several test modules share: brokers, processes, generated worlds."""
