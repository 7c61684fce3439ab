"""Serve language models: which model does what, when it is loaded, and what its engine adds to it."""
