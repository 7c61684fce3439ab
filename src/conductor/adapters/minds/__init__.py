"""Language models that other people made: from Hugging Face, as GGUF files, behind endpoints."""
