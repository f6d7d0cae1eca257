"""Generate answers to prompts: generation, streaming, the context window, the terminal."""
