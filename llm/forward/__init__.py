"""A pack becomes a summed loss, the logits a few rows at a time."""
