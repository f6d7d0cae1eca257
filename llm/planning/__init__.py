"""How much memory and compute a training step takes, rehearsed on a model without weights."""
