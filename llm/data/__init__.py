"""The dataset of a run: encoded samples on disk, planned into packs, collated into batches."""
