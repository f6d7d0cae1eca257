"""The HTTP server: access control, limits, checks of messages and the generation queue."""
