"""The lines that come with Metroline: one folder each, services.py and routes.toml."""
