"""Requests that are passed on: how many a caller may send, which upstream takes one, and who used how much."""
