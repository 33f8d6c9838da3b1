"""The pages of the rules table: its versions, a desk to change and publish it, and the check of its forecast."""
