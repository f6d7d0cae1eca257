"""Where attempts run: this machine's slots, or Slurm; and job files for other systems, rendered only."""
