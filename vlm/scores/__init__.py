"""Scores of answers to benchmark questions, and their intervals; without a model and without torch."""
