"""The topics of a line, as strangers may write to them."""
