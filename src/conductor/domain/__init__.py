"""Nouns, rules, units and errors of the whole product; no input or output, no clock, no randomness."""
