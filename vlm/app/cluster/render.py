"""`eyegraft train FILE --render slurm | sky | kubeflow | ray`: a job file that starts the run on several machines."""

from collections.abc import Callable

from llm.errors import ConfigError
from vlm.app.cluster.job import ClusterJob
from vlm.app.cluster.kubeflow import kubeflow
from vlm.app.cluster.ray_jobs import ray_jobs
from vlm.app.cluster.sky import sky
from vlm.app.cluster.slurm import slurm

KINDS: dict[str, Callable[[ClusterJob], str]] = {"slurm": slurm, "sky": sky, "kubeflow": kubeflow, "ray": ray_jobs}


def render_job(kind: str, job: ClusterJob) -> str:
    """The text of the job file. Raises ConfigError for an unknown scheduler."""
    if kind not in KINDS:
        raise ConfigError(f"--render {kind}: choose {', '.join(list(KINDS)[:-1])} or {list(KINDS)[-1]}")
    return KINDS[kind](job)
