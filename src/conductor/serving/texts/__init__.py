"""Texts: cutting them to length, finding quotations and figures in them, telling thoughts from answers."""
