"""Tests of gateways to other systems."""
