"""Exports of jobs: the program that writes one, its state in files, and its download as a tar file."""
