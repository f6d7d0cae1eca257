"""Faults planted into the core, and whether a test sees them: `make mutate`, docs/benchmarks/mutation.md."""
