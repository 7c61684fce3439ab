"""Models that run elsewhere: any OpenAI-compatible endpoint, Ollama, LM Studio; asked as runners, or relayed by the byte."""
