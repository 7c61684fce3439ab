"""Translate a request, call one use case, translate back."""
