"""Settings: what can be set (`model`, `keys`), where it is read (`sources`), what counts (`load`), changes (`live`)."""
