"""The command `eyegraft`: the one room that may import every other."""
