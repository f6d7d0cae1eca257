"""The forward pass of a pack and its summed loss, with logits computed in chunks."""
