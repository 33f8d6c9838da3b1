"""Messages that strangers may write on a line's topics: garbage, good messages with defects, and attacks.

Forgeries never claim the outcome of a record of the source that the test sends: whoever may write to the arrivals can
settle records, and only ACLs keep strangers from that (docs/security.md).
"""
