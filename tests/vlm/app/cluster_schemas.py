"""What clusters accept, restated by hand: only the parts that our job files have, and no other key.

`make clusters` gives the files to the clusters' own packages. The originals, all under the Apache License 2.0:
- SkyPilot 0.14.1: get_task_schema and get_resources_schema of sky/utils/schemas.py, the name's pattern of sky/task.py.
- Kubeflow Trainer 2.3, commit 8c0f5059bd51ec3ba6d6a6a7b2e1471de7bc13b3: manifests/base/crds/, both definitions.
- Ray 2.60.0: JobSubmitRequest of python/ray/dashboard/modules/job/common.py.
"""

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 1}
NONE: Schema = {"type": "integer", "maximum": 0, "minimum": 0}
LABEL: Schema = {"type": "string", "pattern": r"^[a-z]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}  # of Kubernetes


def part(*required: str, **properties: Schema) -> Schema:
    """An object of these keys."""
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


def texts(pattern: str = "") -> Schema:
    """An object of any keys whose values are texts."""
    return {"type": "object", "additionalProperties": {**TEXT, **({"pattern": pattern} if pattern else {})}}


def each(item: Schema, most: int) -> Schema:
    """A list."""
    return {"type": "array", "items": item, "maxItems": most}


SKY = part(
    "run",
    name={"type": "string", "pattern": r"^[a-zA-Z0-9]+(?:[._-]{1,2}[a-zA-Z0-9]+)*$"},
    num_nodes={"type": "integer"},
    resources=part(accelerators=TEXT, job_recovery=part(max_restarts_on_errors={"type": "integer", "minimum": 0})),
    workdir=TEXT,
    setup=TEXT,
    run=TEXT,
)
RAY = part(
    "entrypoint",
    entrypoint=TEXT,
    submission_id=TEXT,
    runtime_env=part(env_vars=texts()),
    metadata=texts(),
)
_CONTAINER = part(
    "name",
    name=LABEL,
    image=TEXT,
    workingDir=TEXT,
    volumeMounts=each(part("name", "mountPath", name=LABEL, mountPath={"type": "string", "pattern": "^[^:]*$"}), 99),
)
_POD = part(
    "containers",
    restartPolicy={"enum": ["Never", "OnFailure"]},  # of a Job's pods
    terminationGracePeriodSeconds=COUNT,
    containers=each(_CONTAINER, 99),
    volumes=each(part("name", name=LABEL, persistentVolumeClaim=part("claimName", claimName=TEXT)), 99),
)
_JOB = part("template", backoffLimit=NONE, template=part(spec=_POD))
_JOBS = each(part("name", "template", name=LABEL, template=part(metadata=part(labels=texts()), spec=_JOB)), 99)
RUNTIME = part(
    "apiVersion",
    "kind",
    apiVersion={"const": "trainer.kubeflow.org/v1alpha1"},
    kind={"const": "TrainingRuntime"},
    metadata=part("name", name=LABEL, labels=texts()),
    spec=part(
        mlPolicy=part(numNodes=COUNT, torch=part()),
        template=part(spec=part(failurePolicy=part(maxRestarts=NONE), replicatedJobs=_JOBS)),
    ),
)
TRAIN_JOB = part(
    "apiVersion",
    "kind",
    apiVersion={"const": "trainer.kubeflow.org/v1alpha1"},
    kind={"const": "TrainJob"},
    metadata=part("name", name=LABEL),
    spec=part(
        "runtimeRef",
        runtimeRef=part("name", apiGroup=TEXT, kind={"const": "TrainingRuntime"}, name=LABEL),
        trainer=part(
            image={"type": "string", "maxLength": 500},
            command=each(TEXT, 128),
            env=each(part("name", name=TEXT, value=TEXT), 128),
            numNodes=COUNT,
            numProcPerNode=COUNT,
            resourcesPerNode=part(limits={"type": "object", "additionalProperties": {"type": "integer"}}),
        ),
    ),
)
