"""The metrics of a run, handed on to experiment trackers by processes of their own."""
