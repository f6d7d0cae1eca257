"""Every record and image of a data file judged as training judges it."""
