"""Evaluations, measured against plain transformers."""
