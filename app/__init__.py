"""Assembles the application: settings, factory, command, web views."""
