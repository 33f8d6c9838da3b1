"""The example lines, one folder each with `services.py` and `routes.toml`."""
