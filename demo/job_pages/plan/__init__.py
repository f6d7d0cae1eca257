"""Plans on the Train page: made one at a time, remembered, and shown."""
