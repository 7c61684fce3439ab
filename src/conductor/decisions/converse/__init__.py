"""Talking with people: what they want, what may be said, and what waits for their yes."""
