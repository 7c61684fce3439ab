"""Who is there and how they are: devices, readings, health, performance, confinement policy."""
