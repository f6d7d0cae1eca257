"""`--render kubeflow`: a TrainJob of Kubeflow Trainer with a runtime of its own.

The runtimes that Kubeflow ships let Kubernetes start a pod again, six times by default; that is a setting of a runtime,
which a TrainJob cannot change.
"""

from vlm.app.cluster.job import GRACE_S, TORCHRUN_GRACE, ClusterJob, yaml_text

API = "trainer.kubeflow.org/v1alpha1"
STEP = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}  # by which the controller finds the trainer's job
IMAGE = "eyegraft"
HEADER = f"""Written by eyegraft train --render kubeflow, and not run there: kubectl apply -f this-file.yaml
Set the image (twice; it has eyegraft[deepspeed,quant]) and the claim's name: a volume that all nodes can write, on
which lie the recipe and its run folder. All pods at once or none: set podGroupPolicy, as your scheduler has it.
Nothing is started again by itself (backoffLimit and maxRestarts are 0): delete the TrainJob, apply the file again, and
the run resumes from its last checkpoint. A pod that is deleted or evicted has {GRACE_S} seconds to finish its step
and save."""


def kubeflow(job: ClusterJob) -> str:
    """The runtime and the TrainJob as YAML."""
    return yaml_text(HEADER, _runtime(job), _train_job(job))


def _runtime(job: ClusterJob) -> dict[str, object]:
    container = {
        "name": "node",
        "image": IMAGE,
        "workingDir": str(job.folder),
        "volumeMounts": [{"name": "work", "mountPath": str(job.folder)}],
    }
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_S,
        "containers": [container],
        "volumes": [{"name": "work", "persistentVolumeClaim": {"claimName": "eyegraft"}}],
    }
    nodes = {"metadata": {"labels": STEP}, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}
    return {
        "apiVersion": API,
        "kind": "TrainingRuntime",
        "metadata": {"name": job.label, "labels": {"trainer.kubeflow.org/framework": "torch"}},
        "spec": {
            "mlPolicy": {"numNodes": job.nodes, "torch": {}},
            "template": {
                "spec": {"failurePolicy": {"maxRestarts": 0}, "replicatedJobs": [{"name": "node", "template": nodes}]}
            },
        },
    }


def _literal(part: str) -> str:
    """Kubernetes replaces $(NAME) in commands."""
    return part.replace("$(", "$$(")


def _train_job(job: ClusterJob) -> dict[str, object]:
    name, value = TORCHRUN_GRACE
    trainer = {
        "image": IMAGE,
        # The controller sets PET_NNODES, PET_NODE_RANK, PET_MASTER_ADDR and others, which torchrun reads.
        "command": ["torchrun", "--no-python", *map(_literal, job.training)],
        "env": [{"name": name, "value": value}],
        "numNodes": job.nodes,
        "numProcPerNode": job.gpus,
        "resourcesPerNode": {"limits": {"nvidia.com/gpu": job.gpus}},
    }
    reference = {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": job.label}
    return {
        "apiVersion": API,
        "kind": "TrainJob",
        "metadata": {"name": job.label},
        "spec": {"runtimeRef": reference, "trainer": trainer},
    }
