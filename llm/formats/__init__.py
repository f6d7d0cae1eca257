"""A row of any file becomes a Conversation."""
