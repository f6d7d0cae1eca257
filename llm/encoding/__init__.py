"""A Conversation becomes token ids and labels: chat templates, tokenization, the encoder."""
