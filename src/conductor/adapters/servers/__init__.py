"""Server programs of others, llama.cpp's `llama-server` and vLLM, that are started, watched and stopped for a model."""
