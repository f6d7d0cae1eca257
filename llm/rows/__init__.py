"""Rows of data files: JSON, CSV, parquet and text, which files of a folder are read, and hub data sets."""
