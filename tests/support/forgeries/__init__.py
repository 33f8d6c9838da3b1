"""Messages that strangers may write on the topics of a line: garbage, good messages with defects, and attacks that were seen.

Forgeries never claim the outcome of a record of the source that the test sends: whoever may write to the arrivals can
settle records, and only ACLs keep strangers from that (docs/security.md).
"""
