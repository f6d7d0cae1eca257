"""Run folders as others see them, without torch: which there are, how far each is, and how fast."""
