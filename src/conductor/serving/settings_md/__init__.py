"""`SETTINGS.md`: persona and model table as a page that people read and write.

`parse` reads a page, `render` writes one, `replace_rows` changes one without touching the rest, `compare` says what a new
one would load and unload. Where the file lies, and what happens when it changes, is `app.serving.model_table`'s.
"""
