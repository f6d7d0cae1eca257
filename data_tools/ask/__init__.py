"""Training data from the answers of any OpenAI-compatible API."""
