"""Previews of a rules table: the decisions about journeys that the line remembers are made again, and compared."""
