"""Citations: their form, the identifiers in them, and the library they are looked up in."""
