"""Serve language models: choose who answers, follow the answer, account for it; batches, files, the gateway."""
