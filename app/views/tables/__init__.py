"""The pages of a line's tables, put together from what each worker holds."""
