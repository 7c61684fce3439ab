"""Files that tasks carry: where they lie, what they are, and what can be measured about them."""
