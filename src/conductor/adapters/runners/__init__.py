"""Models that run on this machine, in engine processes: Transformers on torch, and llama.cpp."""
