"""OpenAI's API: requests as clients send them, answers, and errors in words for a chat user."""
