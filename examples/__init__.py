"""Real inputs and work for `make run`; each module is something a user might have written."""
