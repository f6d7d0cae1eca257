"""Pretrained models in, LoRA adapters on, Hugging Face folders out."""
