"""`--render sky`: a task of SkyPilot, for managed jobs."""

from vlm.app.cluster.job import PORT, ClusterJob, yaml_text

HEADER = """Written by eyegraft train --render sky, and not run there: sky jobs launch this-file.yaml
Set resources.accelerators, and mount storage under the recipe's `out` (file_mounts or volumes): what lies on the disk
of a machine is lost with it. SkyPilot gives no time to save: what follows the last checkpoint (train.save_every) is
repeated.
A job whose machines are taken away is started again by SkyPilot on others, after the old ones are gone; it resumes
exactly from its last checkpoint. One that fails by itself is not restarted: launch it again, and it resumes."""
RUN = """head=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)
torchrun --nnodes="$SKYPILOT_NUM_NODES" --nproc-per-node="$SKYPILOT_NUM_GPUS_PER_NODE" \\
  --node-rank="$SKYPILOT_NODE_RANK" --master-addr="$head" --master-port={port} \\
  {command}
"""


def sky(job: ClusterJob) -> str:
    """The task as YAML."""
    task = {
        "name": job.label,
        "num_nodes": job.nodes,
        "resources": {"accelerators": f"A100:{job.gpus}", "job_recovery": {"max_restarts_on_errors": 0}},
        "workdir": ".",
        "setup": "pip install 'eyegraft[deepspeed,quant]'",
        "run": RUN.format(port=PORT, command=job.command),
    }
    return yaml_text(HEADER, task)
