"""What programs and models may call by name: tools over the opened product, one module a theme; see `app.tool_list`."""
