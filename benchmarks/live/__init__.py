"""Measures systems while records arrive at a steady rate (open loop)."""
