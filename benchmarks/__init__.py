"""Comparisons with the simplest thing that could do the job and with the tools people use today: `make bench`."""
