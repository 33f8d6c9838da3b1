"""What one step of the routing core, or one lookup, costs."""
