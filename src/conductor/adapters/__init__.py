"""Every touch of the outside world, each behind a port of the room that needs it."""
