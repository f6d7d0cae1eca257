"""Files that are brought to the Train page in a browser."""
