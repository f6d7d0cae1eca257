"""Runs in an environment with skypilot, kubeflow-trainer-api and ray: their own code reads the rendered files.

python tests/clusters/published.py FOLDER, in which are sky.yaml, kubeflow.yaml, ray.json and a stand-in for torchrun.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

WAIT_S = 120.0
PORT = 18265
URL = f"http://127.0.0.1:{PORT}/api/jobs/"
JsonObject = dict[str, Any]


def check_sky(folder: Path) -> str:
    """The schemas that `sky jobs launch` validates with, for the task and for its resources."""
    import jsonschema
    from sky.utils import schemas

    task = yaml.safe_load((folder / "sky.yaml").read_text("utf-8"))
    jsonschema.validate(task, schemas.get_task_schema())
    jsonschema.validate(task["resources"], schemas.get_resources_schema())
    return version("skypilot")


def check_kubeflow(folder: Path) -> str:
    """The models that Kubeflow generates from its definitions: every key is one of theirs and survives them."""
    from kubeflow_trainer_api import models

    kinds = {"TrainJob": models.TrainerV1alpha1TrainJob, "TrainingRuntime": models.TrainerV1alpha1TrainingRuntime}
    documents = list(yaml.safe_load_all((folder / "kubeflow.yaml").read_text("utf-8")))
    assert [document["kind"] for document in documents] == ["TrainingRuntime", "TrainJob"]
    for document in documents:
        read = json.loads(json.dumps(kinds[document["kind"]].from_dict(document).to_dict()))
        assert read == document, (read, document)
    return version("kubeflow-trainer-api")


def run_ray(folder: Path) -> str:
    """The body is sent to Ray's own server, over three machines of four pretended GPUs on this one."""
    body = json.loads((folder / "ray.json").read_text("utf-8"))
    name = body["submission_id"]
    with _ray_cluster(folder):
        for how, status in {"ends": "SUCCEEDED", "fails": "FAILED", "waits": "STOPPED"}.items():
            for file in [*folder.glob("rank-*"), *folder.glob("stopped-*")]:
                file.unlink()
            (folder / "how").write_text(how)
            body["submission_id"] = f"{name}-{how}"  # the actor of a job that was just deleted may still be going
            _submit(body)
            _until(lambda: len(list(folder.glob("rank-*"))) == 3, body["submission_id"])
            if how == "waits":
                _refuse_again(body)
                _call("POST", f"{body['submission_id']}/stop")
            _until(
                lambda: _call("GET", body["submission_id"])["status"] not in ("PENDING", "RUNNING"),
                body["submission_id"],
            )
            assert _call("GET", body["submission_id"])["status"] == status, _call("GET", body["submission_id"])
            ranks = sorted(file.read_text() for file in folder.glob("rank-*"))
            assert [text.split()[0] for text in ranks] == [f"--node-rank={rank}" for rank in range(3)], ranks
            assert all("--nnodes=3 --nproc-per-node=4" in text for text in ranks), ranks
            stopped = {"ends": [], "fails": ["1", "1"], "waits": ["1"] * 3}[how]
            assert [file.read_text() for file in folder.glob("stopped-*")] == stopped, "SIGTERM comes once"
    return version("ray")


@contextmanager
def _ray_cluster(folder: Path) -> Iterator[None]:
    from ray.cluster_utils import Cluster

    os.environ["PATH"] = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"  # its machines inherit it
    head = {"num_cpus": 1, "num_gpus": 4, "include_dashboard": True, "dashboard_port": PORT}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, num_gpus=4)
        yield
    finally:
        cluster.shutdown()


def _submit(body: JsonObject) -> None:
    """Once the server answers."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            assert _call("POST", "", body)["submission_id"] == body["submission_id"]
            return
        except urllib.error.URLError:
            if time.monotonic() > until:
                raise
            time.sleep(1)


def _refuse_again(body: JsonObject) -> None:
    try:
        _call("POST", "", body)
    except urllib.error.HTTPError as error:
        assert "already exists" in error.read().decode()
    else:
        raise AssertionError("one body is two jobs")


def _call(method: str, path: str, body: JsonObject | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def _until(what: Callable[[], bool], job: str) -> None:
    until = time.monotonic() + WAIT_S
    while not what():
        assert time.monotonic() < until, (_call("GET", job), _call("GET", f"{job}/logs"))
        time.sleep(0.2)


if __name__ == "__main__":
    given = Path(sys.argv[1])
    print(json.dumps({check.__name__: check(given) for check in (check_sky, check_kubeflow, run_ray)}))
