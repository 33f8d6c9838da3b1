"""Draws a network of stops as SVG or as text, in the stages of Sugiyama's method."""
