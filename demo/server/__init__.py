"""The HTTP server: OpenAI's chat API, access control, limits and the generation queue."""
