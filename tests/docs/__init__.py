"""The documentation: complete in both languages, built strictly, its commands run."""
