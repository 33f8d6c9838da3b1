"""Component tests of journeys that ended: they are found, searched and told without a broker."""
