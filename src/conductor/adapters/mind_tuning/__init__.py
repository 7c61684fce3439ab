"""Tuned versions as files, and the texts of general work that guard against forgetting."""
