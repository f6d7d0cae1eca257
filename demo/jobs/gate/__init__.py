"""The look at a job before it waits, in a program of its own: its data, its recipe, its plan."""
