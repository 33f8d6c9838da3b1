"""The peers: other systems that do the work of the line metrobus, one file each, each run as a process of its own."""
