"""`eyegraft data ask`: training data from the answers of any OpenAI-compatible API."""
