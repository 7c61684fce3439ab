"""Contracts: their clauses, what is found in them, and what should be there."""
