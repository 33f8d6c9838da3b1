"""Draws a network as SVG or text, in the stages of Sugiyama's method. Knows no run and no broker."""
