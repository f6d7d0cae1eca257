"""Data files mixed, split, repeated, renamed and filled in."""
