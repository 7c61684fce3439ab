"""Human languages: codes, registers, and what a translation must leave alone."""
