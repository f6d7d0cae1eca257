"""The figures of a finished run: visual question answering and identity."""
