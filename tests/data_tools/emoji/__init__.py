"""Tests of data_tools/emoji."""
