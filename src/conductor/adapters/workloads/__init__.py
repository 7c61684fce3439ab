"""The kinds of work this product brings along, and the registry that finds further ones."""
