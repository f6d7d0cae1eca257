"""The plan of a job that is not submitted yet, made by a program of its own: the look of the gate, then its data."""
