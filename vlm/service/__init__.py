"""Training jobs: a store, a supervisor, engines that run them, and OpenAI's fine-tuning API over them; no torch."""
