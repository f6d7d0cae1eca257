"""`--render ray`: the body of a request to Ray Jobs (POST /api/jobs/)."""

import json
import shlex

from vlm.app.cluster.job import GRACE_S, TORCHRUN_GRACE, ClusterJob

NOTE = (
    "Written by eyegraft train --render ray, and not run there: curl -H 'Content-Type: application/json' -d @this-file "
    "http://HEAD:8265/api/jobs/ . Every machine has eyegraft and sees the folder that the entrypoint names. Nothing is "
    "started again by itself, and Ray refuses a submission_id that it knows: delete the job, or change the id, and "
    f"send this again; the run resumes from its last checkpoint. A job that is stopped has {GRACE_S} seconds to finish "
    "its step and save."
)


def ray_jobs(job: ClusterJob) -> str:
    """The body as JSON. It has no comments; `metadata`, which Ray shows and does not read, has a note instead."""
    gang = ["python", "-m", "vlm.app.cluster.ray_gang", str(job.nodes), str(job.gpus), str(job.folder)]
    name, value = TORCHRUN_GRACE
    body = {
        "entrypoint": shlex.join([*gang, *job.training]),
        "submission_id": job.label,
        "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(GRACE_S), name: value}},
        "metadata": {"note": NOTE},
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"
