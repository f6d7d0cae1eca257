"""A recipe becomes checkpoints: assembly, loop, optimizer and schedule, DDP and DeepSpeed, resume."""
