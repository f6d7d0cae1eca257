"""The turns of a conversation: roles, content parts, tool calls, loss flags, and image slots in their text."""
