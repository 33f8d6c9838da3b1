"""Support for several test modules: brokers, processes, generated worlds."""
