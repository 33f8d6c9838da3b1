"""Everything that can be decided without waiting: pure functions and frozen data, without I/O or a clock."""

if __name__ == "routing":
    raise ImportError("write metroline.routing: the package routing is now a part of metroline", name=__name__)
