"""Mutation testing of the core modules: `make mutate`, docs/benchmarks/mutation.md."""
