"""Models that the service downloads from a hub: who may, what is taken, the process that fetches, the list."""
