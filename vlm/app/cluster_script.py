"""`eyegraft train FILE --render slurm | sky`: a job file that starts the run on several machines."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from llm.errors import ConfigError
from vlm.app.launch import TrainCommand

GPUS = 8  # per machine, without --nproc
PORT = 29500


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """A run by name, on a number of machines."""

    name: str
    train: TrainCommand
    nodes: int

    @property
    def gpus(self) -> int:
        """Processes per machine, one per GPU."""
        return self.train.nproc or GPUS

    @property
    def command(self) -> str:
        """The command of every process."""
        return f"--no-python eyegraft {shlex.join(self.train.arguments)}"


def render_job(kind: str, job: ClusterJob) -> str:
    """The text of the job file. Raises ConfigError for an unknown scheduler."""
    if kind not in KINDS:
        raise ConfigError(f"--render {kind}: choose {' or '.join(KINDS)}")
    return KINDS[kind](job)


def _slurm(job: ClusterJob) -> str:
    return f"""#!/bin/bash
# Submit with sbatch from the folder of the recipe; all machines must see this folder and the run folder.
# Submitted again after a failure or a time limit, the run resumes from its last checkpoint.
#SBATCH --job-name={job.name}
#SBATCH --nodes={job.nodes}
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node={job.gpus}
#SBATCH --exclusive
#SBATCH --output=%x-%j.log
#SBATCH --signal=TERM@120
set -euo pipefail
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun --kill-on-bad-exit=1 torchrun --nnodes="$SLURM_NNODES" --nproc-per-node={job.gpus} \\
    --rdzv-backend=c10d --rdzv-id="$SLURM_JOB_ID" --rdzv-endpoint="$head:{PORT}" \\
    {job.command}
"""


def _sky(job: ClusterJob) -> str:
    return f"""# sky launch -c {job.name} this-file.yaml; set the accelerator, and mount storage as the run folder:
# checkpoints on the disk of a preempted machine are lost.
name: {job.name}
num_nodes: {job.nodes}
resources:
  accelerators: A100:{job.gpus}
workdir: .
setup: |
  pip install 'eyegraft[deepspeed,quant]'
run: |
  head=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)
  torchrun --nnodes="$SKYPILOT_NUM_NODES" --nproc-per-node="$SKYPILOT_NUM_GPUS_PER_NODE" \\
    --node-rank="$SKYPILOT_NODE_RANK" --master-addr="$head" --master-port={PORT} \\
    {job.command}
"""


KINDS: dict[str, Callable[[ClusterJob], str]] = {"slurm": _slurm, "sky": _sky}
