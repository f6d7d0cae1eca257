"""Run folders as others see them."""
