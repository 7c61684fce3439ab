"""The OpenAI API: chat completions, completions, embeddings, models, files and batches, in the protocol's own forms.

Source: OpenAI API specification 2.3.0.
"""
