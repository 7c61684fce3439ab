"""A signed, linked, append-only record of decisions and outcomes that anyone can verify offline."""
