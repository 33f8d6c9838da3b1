"""Envelopes out until they are confirmed, messages in until they are acknowledged."""
