"""When a model is in memory: loaded, lent, moved, measured, and what gives way to what."""
