"""OpenAI's files and fine-tuning API over the training service."""
