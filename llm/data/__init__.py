"""The dataset of a run: encoded samples on disk become packs, packs become batches (collate)."""
