"""Examines whether a worker of a line could run here: each check is a finding with a remedy. Changes nothing."""
