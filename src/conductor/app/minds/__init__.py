"""The language models that take part in decisions: which is chosen, loaded, recorded, tuned, listed and reported on."""
