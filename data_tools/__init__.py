"""Tools for data files: check, convert, edit, inspect, generate, ask; and the quickstart assets."""
