"""Tests of gateways to other systems, against stand-ins of these systems."""
