"""The face for models: the Model Context Protocol over HTTP and standard input, and as a function of JSON text."""
