"""Data files of one format written in another."""
