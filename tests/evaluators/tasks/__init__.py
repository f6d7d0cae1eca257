"""Tasks of inspect-ai, lm-eval and lmms-eval over local benchmark files, copied beside the files and run there."""
