"""Models and tokenizers: loaded with checks, quantised, with LoRA adapters, exported as Hugging Face folders."""
