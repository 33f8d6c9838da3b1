"""Measures parts of Metroline beside what one would use instead."""
