"""Tasks of lmms-eval."""
