"""Delivery: sends envelopes until they are confirmed, and acknowledges messages once their results are confirmed."""
