"""`eyegraft train FILE --render slurm | sky`: a file that starts the run on several machines."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from llm.errors import ConfigError
from vlm.app.launch import Start

GPUS = 8  # a machine, where --nproc says nothing
PORT = 29500


@dataclass(frozen=True, slots=True)
class Job:
    """A run by name, on so many machines."""

    name: str
    start: Start
    nodes: int

    @property
    def gpus(self) -> int:
        """Processes of each machine, one a GPU."""
        return self.start.nproc or GPUS

    @property
    def command(self) -> str:
        """What every process runs."""
        return f"--no-python eyegraft {shlex.join(self.start.arguments)}"


def render(kind: str, job: Job) -> str:
    """The file's text. Raises ConfigError for a scheduler we do not know."""
    if kind not in KINDS:
        raise ConfigError(f"--render {kind}: choose {' or '.join(KINDS)}")
    return KINDS[kind](job)


def _slurm(job: Job) -> str:
    return f"""#!/bin/bash
# sbatch this file; the folder it is sent from holds the recipe and is seen by all machines, as is the run folder.
# Sent again after a failure or a time limit, it goes on from the last checkpoint.
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


def _sky(job: Job) -> str:
    return f"""# sky launch -c {job.name} this-file.yaml; set the accelerator, and mount the run folder to keep it:
# checkpoints on a machine that is taken back are lost.
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


KINDS: dict[str, Callable[[Job], str]] = {"slurm": _slurm, "sky": _sky}
