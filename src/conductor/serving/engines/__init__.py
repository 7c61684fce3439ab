"""One engine for each category of work; each does more than hand a prompt on."""
