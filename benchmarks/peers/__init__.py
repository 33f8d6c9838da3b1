"""The peers: the line metrobus once more in each system's own idiom, one file each, run as a process of its own."""
