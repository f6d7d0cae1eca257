"""Job files for clusters against what the clusters themselves publish, in an environment of their own."""
