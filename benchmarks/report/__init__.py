"""Raw results become tables, charts and targets."""
