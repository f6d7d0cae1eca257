"""The quickstart assets: a language model, an image tower and easy-VQA, made from published wheels."""
