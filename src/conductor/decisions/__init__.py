"""Reads a task in plain words and recommends device, resources, priority, duration and nodes, with reasons."""
