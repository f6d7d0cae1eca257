"""A prompt becomes an answer: generation, streaming, the context window, the terminal."""
