"""Decoding several answers of a model together: their cache, the steps, and prompts that are remembered."""
