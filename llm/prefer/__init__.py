"""Preferences: pairs of answers as packs, their losses and metrics, and the log-probabilities of the reference."""
