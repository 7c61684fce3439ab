"""A page to start from; small models, nothing loaded before it is asked for."""

from typing import Final

#: Valid as it stands; a test reads it.
EXAMPLE: Final = """\
# LLM Server Settings

Which model does what. Save this file, and a running server takes it over;
`conductor settings validate` says beforehand what would load and unload.

## Conversational Persona

You are a helpful colleague. You answer briefly and say when you are not sure.

<!-- A technical model name is one of: OWNER/NAME as on Hugging Face, a folder (/models/mine), a GGUF file
     (/models/mine.gguf), an endpoint (http://127.0.0.1:8001/v1#MODEL). "Stay Loaded" keeps a model in memory;
     the others are loaded when they are asked for. "–" says that the size is not known. -->

| Category/Area | Best Open Source Model | VRAM/RAM Requirements | Technical Model Name | Stay Loaded | Precision |
|---------------|------------------------|-----------------------|----------------------|-------------|-----------|
| **Conversational Chat** | Qwen2.5 1.5B Instruct | ~3.1 GB (FP16) | `Qwen/Qwen2.5-1.5B-Instruct` | false | FP16 |
| **Code Completion** | Qwen2.5 Coder 0.5B | ~1 GB (FP16) | `Qwen/Qwen2.5-Coder-0.5B` | false | FP16 |
| **Mathematical Reasoning** | Qwen2.5 Math 1.5B | ~1 GB (4-bit) | `Qwen/Qwen2.5-Math-1.5B-Instruct` | false | 4-bit |
| **Translation** | Qwen2.5 1.5B Instruct | ~3.1 GB (FP16) | `Qwen/Qwen2.5-1.5B-Instruct` | false | FP16 |
| **General Reasoning** | Llama 3.2 3B, served by Ollama | – | `ollama://127.0.0.1:11434#llama3.2:3b` | false | – |
"""
