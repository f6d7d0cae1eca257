"""`--render slurm`."""

from vlm.app.cluster.job import GRACE_S, PORT, TORCHRUN_GRACE, ClusterJob


def slurm(job: ClusterJob) -> str:
    """A script for sbatch."""
    return f"""#!/bin/bash
# Submit with sbatch from the folder of the recipe; all machines must see this folder and the run folder.
# Submitted again after a failure or a time limit, the run resumes from its last checkpoint.
#SBATCH --job-name={job.label}
#SBATCH --nodes={job.nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node={job.gpus}
#SBATCH --exclusive
#SBATCH --no-requeue
#SBATCH --output=%x-%j.log
#SBATCH --signal=TERM@{GRACE_S}
set -euo pipefail
export {"=".join(TORCHRUN_GRACE)}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=1 torchrun --nnodes="$SLURM_NNODES" --nproc-per-node={job.gpus} \\
    --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$head:{PORT}" \\
    {job.command}
"""
