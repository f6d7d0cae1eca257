"""Job files for schedulers of several machines: Slurm, SkyPilot, Kubeflow Trainer, Ray. Written, not submitted."""
