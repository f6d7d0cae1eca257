"""Readers of data sets: a row of any supported file becomes a Conversation."""
