"""A web page and an OpenAI-compatible API over trained models."""
