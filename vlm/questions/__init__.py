"""Benchmark files become questions: how each is asked, how its answer is read, and which metrics count it; no torch."""
