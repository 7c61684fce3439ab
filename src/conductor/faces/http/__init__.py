"""The HTTP face: REST with RFC 9457 problems, server-sent events, OpenAPI, metrics, and the login of the browser."""
