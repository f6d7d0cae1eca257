"""Vision-language models: a tower and a projector on a language model, and the command line."""
