"""Requests that schemathesis generates from the service's own OpenAPI document, valid and not, about objects that are
there and that are not."""

import json
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from demo.jobs import launch
from demo.jobs.webhook_request import SENT
from demo.server.guard import LOOPBACK
from vlm.run_folders.progress import RunProgress
from vlm.service.engines.engine import Slot
from vlm.service.store.database import Database
from vlm.service.store.event_table import add_checkpoint, add_metrics
from vlm.service.store.file_table import add_file
from vlm.service.store.job_table import NewJob, Note, move, submit
from vlm.service.store.rows import StoredFile
from vlm.service.store.states import FINAL, State
from vlm.service.store.webhook_table import add_endpoint, list_endpoints, remove_endpoint
from vlm.service.supervisor import Supervisor
from vlm.service.trainable_models import TrainableModels
from vlm.service.webhooks.signing import new_secret

TOKEN = "a token of sixteen letters"
HEADERS = {"host": "localhost", "authorization": f"Bearer {TOKEN}"}
HOLDS = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
)
NOT_A_NUMBER = RunProgress(step=1, steps=2, loss=math.nan, tokens_per_s=math.inf)
# How a job comes into each state.
WAYS: dict[State, tuple[State, ...]] = {
    State.VALIDATING: (),
    State.QUEUED: (State.QUEUED,),
    State.RUNNING: (State.QUEUED, State.STARTING, State.RUNNING),
    State.PAUSED: (State.PAUSED,),
    State.INTERRUPTED: (State.QUEUED, State.STARTING, State.INTERRUPTED),
    State.SUCCEEDED: (State.QUEUED, State.STARTING, State.SUCCEEDED),
    State.FAILED: (State.FAILED,),
    State.CANCELLED: (State.CANCELLED,),
}


class StillSupervisor(Supervisor):
    """Moves nothing: the jobs of these requests are never run."""

    def tick(self) -> None:
        """Nothing."""


@contextmanager
def still_service(root: Path, model: Path) -> Iterator[FastAPI]:
    """The application of a service that runs no job."""
    models = TrainableModels({"tiny": model}, frozenset())
    options = launch.ServiceOptions(root, models, (Slot("cpu", "cpu", 0),), TOKEN, LOOPBACK)
    with mock.patch.object(launch, "Supervisor", StillSupervisor), launch.running(options) as (app, _):
        yield app


def check_generated(app: FastAPI, root: Path, count: int) -> dict[str, Counter[int]]:
    """Send `count` valid and `count` invalid requests to every operation.

    Returns the statuses by operation; raises AssertionError or schemathesis' failures for an answer of status 5xx, and
    for one that the document does not describe.
    """
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=HEADERS)
    database = Database(root / "service.db")
    there = Objects(database, root)
    seen: dict[str, Counter[int]] = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        statuses = seen.setdefault(f"{operation.method.upper()} {operation.path}", Counter())
        takes_nothing = not list(operation.iter_parameters()) and not operation.body  # then nothing can be invalid
        for mode in [GenerationMode.POSITIVE] if takes_nothing else GenerationMode:
            _check(operation, mode, there, count, statuses)
    database.close()
    return seen


class Objects:
    """Files and jobs that are there, a new one for each request."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database, self._root, self._number = database, root, 0

    def file(self) -> str:
        """The id of a file."""
        self._number += 1
        name = f"file-{self._number:024x}"
        (self._root / "files" / f"{name}.jsonl").write_text("{}")
        add_file(self._database, StoredFile(name, "ä.jsonl", "fine-tune", 2, "0" * 64, f"{name}.jsonl", 1))
        return name

    def endpoint(self) -> str:
        """The id of an endpoint at which nothing listens; the one before it is removed."""
        for old in list_endpoints(self._database, 100)[0]:
            remove_endpoint(self._database, old.id)
        return add_endpoint(self._database, "a", "http://127.0.0.1:1/", (SENT[0],), new_secret()).id

    def job(self, state: State) -> str:
        """The id of a job in a state, with events and checkpoints."""
        request: dict[str, Any] = {"seed": 1, "x_eyegraft": {}, "hyperparameters": None, "method": None}
        job = submit(self._database, NewJob(request, "tiny", {"team": "a"}, self.file()))[0].id
        add_metrics(self._database, job, [{"kind": "train", "step": 1, "loss": float("nan"), "lr": 1e-3}], NOT_A_NUMBER)
        add_checkpoint(self._database, job, 1, {"step": 1, "train_loss": float("inf")})
        before = State.VALIDATING
        for after in WAYS[state]:
            assert move(self._database, job, {before}, after, Note("moved"))
            before = after
        return job


def _check(operation: Any, mode: GenerationMode, there: Objects, count: int, statuses: Counter[int]) -> None:
    @seed(1)
    @settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        known=st.booleans(),
        state=st.sampled_from(sorted(WAYS)),
    )
    def check(case: Any, known: bool, state: State) -> None:
        more = _known(case, there, state) if known else {}
        answer = case.call(headers=HEADERS, **more)
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, (case.as_curl_command(), answer.text)
        # A part that was invalid may have been replaced by a known one.
        held = [one for one in HOLDS if not known or one is not checks.negative_data_rejection]
        case.validate_response(answer, checks=held, headers=HEADERS)

    check()


def _known(case: Any, there: Objects, state: State) -> dict[str, Any]:
    """Make a request one about objects that are there; returns what to send besides."""
    path = case.operation.path
    if path.startswith("/v1/files/{name}"):
        case.path_parameters["name"] = there.file()
    if path.startswith("/v1/fine_tuning/jobs/{name}"):
        case.path_parameters["name"] = there.job(state)
        if state not in FINAL and "stream" in (case.query or {}):
            del case.query["stream"]  # it would go on until the job has ended
    if path.startswith("/v1/webhook_endpoints/{name}"):
        case.path_parameters["name"] = there.endpoint()
    if path == "/v1/fine_tuning/jobs" and isinstance(case.body, dict):
        case.body |= {"model": "tiny", "training_file": there.file(), "validation_file": there.file()}
        for key in ("engine", "images"):
            extension = case.body.get("x_eyegraft")
            if isinstance(extension, dict):
                extension.pop(key, None)
    if path == "/v1/files" and isinstance(case.body, dict):
        return {"files": {"file": ("a.jsonl", json.dumps(state).encode())}, "data": {"purpose": "fine-tune"}}
    return {}
