"""Processes on this machine, each confined to its slice."""
