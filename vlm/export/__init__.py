"""A finished run in the forms that others read: Hugging Face, peft, LLaVA, GGUF."""
