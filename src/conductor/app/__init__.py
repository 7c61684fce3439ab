"""Settings, the use cases that cross rooms, lifetimes, and `compose`, which names the concrete classes."""
