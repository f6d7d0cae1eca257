"""Who may use the service: the token on every route, Host and Origin as everywhere, and nothing outside its folder."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from demo.jobs import launch
from demo.jobs.launch import read_token
from demo.server.limits import DEFAULT
from tests.demo.jobs.conftest import RunningService
from vlm.service.engines.engine import Slot
from vlm.service.trainable_models import TrainableModels

JOB, FILE = "ftjob-" + "0" * 24, "file-" + "0" * 24


OPEN = {("GET", "/healthz"), ("HEAD", "/healthz")}  # the only ones without a token


def routes_of(routes: Sequence[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of every route, those of mounted applications included. Fails for what it does not know."""
    for found in iter_route_contexts(routes):
        route = found.original_route
        assert isinstance(route, Route | Mount | WebSocketRoute), f"{route!r}: how is it asked?"
        path = prefix + re.sub(r"\{[^}]*\}", FILE if "/files" in route.path else JOB, str(found.path))
        if isinstance(route, Mount):
            yield from (("POST", path + inner) for inner in ("", "/", "/anything"))
            yield from routes_of(route.routes, path)
        else:
            yield from ((method, path) for method in sorted(found.methods or {"GET"}))


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=service.url, timeout=180) as opened:
        yield opened


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_every_route_wants_the_token(client: httpx2.Client, service: RunningService) -> None:
    """The routes are those of the running application: a new one cannot be forgotten here."""
    routes = sorted({*routes_of(service.app.routes)} - OPEN)
    assert len(routes) >= 30 and {("POST", "/v1/files"), ("DELETE", f"/v1/fine_tuning/jobs/{JOB}")} <= {*routes}
    token, wrong = service.token, list[tuple[object, ...]]()
    tokens: list[dict[str, str]] = [
        {},
        {"cookie": f"eyegraft={token}"},
        {"authorization": f"Basic {token}"},
        {"authorization": "Bearer"},
    ]
    tokens += map(bearer, ("wrong", token[:-1], token + "x"))
    foreign = ({"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": ""})
    for method, path in routes:
        for headers in tokens:
            if (status := client.request(method, path, headers=headers).status_code) != 401:
                wrong.append((method, path, headers, status))
        for headers in foreign:
            if (status := client.request(method, path, headers=bearer(token) | headers).status_code) != 403:
                wrong.append((method, path, headers, status))
    assert wrong == []


def test_the_token_opens_every_route_of_the_service(client: httpx2.Client, service: RunningService) -> None:
    """So that the refusals above are those of the guard."""
    for method, path in routes_of(service.app.routes):
        if path.startswith(("/v1/files", "/v1/fine_tuning", "/v1/webhook", "/v1/x_runs", "/v1/x_downloads")):
            answer = client.request(method, path, headers=bearer(service.token))
            assert answer.status_code not in (401, 403, 405), (method, path)


@pytest.mark.parametrize("path", ["/v1/nothing", "/", "/v1/fine_tuning/jobs/", "//v1/files", "/%2e%2e/v1/files"])
def test_other_addresses_want_it_too(client: httpx2.Client, path: str) -> None:
    assert {client.request(method, path).status_code for method in ("GET", "POST", "PUT", "BREW")} == {401}


def test_the_token_is_its_owners(service: RunningService) -> None:
    assert (service.root / "token").stat().st_mode & 0o777 == 0o600
    assert len(service.token) >= 32
    assert (service.root / "service.db").stat().st_mode & 0o777 == 0o600


REFUSED = [
    ({"model": "/etc"}, "model", "cannot be trained here"),
    ({"model": "../../etc"}, "model", "cannot be trained here"),
    ({"training_file": FILE}, "training_file", "there is no file"),
    ({"training_file": "../../service.db"}, "training_file", "pattern"),
    ({"suffix": "a b/../c"}, "suffix", "pattern"),
    ({"suffix": "x" * 65}, "suffix", "64"),
    ({"method": {"type": "dpo"}}, "method.type", "not offered yet"),
    ({"method": {"type": "reinforcement"}}, "method.type", "not offered yet"),
    ({"metadata": {f"k{n}": "v" for n in range(17)}}, "metadata", "16"),
    ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}, "integrations", "0"),
    ({"shell": "rm -rf /"}, "shell", ""),
    ({"x_eyegraft": {"recipe": {"out": {"a": 1}}}}, "x_eyegraft", "follows from the job"),
    ({"x_eyegraft": {"recipe": {"data": {"sources": []}}}}, "x_eyegraft", "follow from training_file"),
    ({"x_eyegraft": {"recipe": {"track": {"wandb": True}}}}, "x_eyegraft", "write a list of trackers"),
    ({"x_eyegraft": {"recipe": {"tune": ["lora"]}}}, "x_eyegraft", "write keys and values"),
    ({"x_eyegraft": {"engine": "docker"}}, "x_eyegraft.engine", "not one of"),
    ({"x_eyegraft": {"processes": 0}}, "x_eyegraft.processes", "1"),
    ({"seed": -1}, "seed", "0"),
    ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters", ""),
]


@pytest.mark.parametrize(("changes", "param", "words"), REFUSED)
def test_requests_are_refused_by_name(
    client: httpx2.Client, service: RunningService, changes: dict[str, object], param: str, words: str
) -> None:
    given = {"model": "tiny", "training_file": FILE, **changes}
    answer = client.post("/v1/fine_tuning/jobs", json=given, headers=bearer(service.token))
    error = answer.json()["error"]
    assert answer.status_code == 400 and error["param"].startswith(param) and words in error["message"], error
    assert str(service.root) not in answer.text


@pytest.mark.parametrize("name", ["a.exe", "passwd", "", "../../x", "a.jsonl.sh", "x" * 300])
def test_files_of_other_kinds_are_refused(client: httpx2.Client, service: RunningService, name: str) -> None:
    answer = client.post(
        "/v1/files", data={"purpose": "fine-tune"}, files={"file": (name, b"x")}, headers=bearer(service.token)
    )
    assert answer.status_code in (400, 422), answer.text


def test_a_hostile_name_stays_a_name(client: httpx2.Client, service: RunningService) -> None:
    """The content lies under the file's id, whatever the client calls it."""
    answer = client.post(
        "/v1/files",
        data={"purpose": "fine-tune"},
        files={"file": ("../../../etc/cron.d/x.jsonl", b"{}")},
        headers=bearer(service.token),
    )
    found = answer.json()
    assert answer.status_code == 200 and found["filename"] == "x.jsonl"
    assert (service.root / "files" / f"{found['id']}.jsonl").read_bytes() == b"{}"
    content = client.get(f"/v1/files/{found['id']}/content", headers=bearer(service.token))
    assert content.content == b"{}" and content.headers["content-disposition"].startswith("attachment")


def test_bad_data_fails_before_it_waits(client: httpx2.Client, service: RunningService) -> None:
    """With the line of the file, and nothing of the service's folders."""
    right = bearer(service.token)
    rows = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}, {"messages": []}]
    content = "\n".join(map(json.dumps, rows)).encode()
    files = {"file": ("a.jsonl", content)}
    file = client.post("/v1/files", data={"purpose": "fine-tune"}, files=files, headers=right).json()["id"]
    body = {"model": "tiny", "training_file": file}
    job = client.post("/v1/fine_tuning/jobs", json=body, headers={**right, "idempotency-key": "once"}).json()
    assert "id" in job, job
    again = client.post("/v1/fine_tuning/jobs", json=body, headers={**right, "idempotency-key": "once"}).json()
    assert again["id"] == job["id"]
    other = client.post(
        "/v1/fine_tuning/jobs", json={**body, "suffix": "b"}, headers={**right, "idempotency-key": "once"}
    )
    assert other.status_code == 409
    with client.stream("GET", f"/v1/fine_tuning/jobs/{job['id']}/events?stream=true", headers=right) as stream:
        lines = [line for line in stream.iter_lines() if line]
    assert lines[-1] == "data: [DONE]" and lines[0].startswith("id: ftevent-")
    found = client.get(f"/v1/fine_tuning/jobs/{job['id']}", headers=right).json()
    assert found["status"] == "failed" and found["error"]["code"] == "invalid_training_file"
    assert found["error"]["message"].startswith("line 2: ") and str(service.root) not in json.dumps(found)


def test_nothing_lies_outside(service: RunningService) -> None:
    names = {path.name for path in Path(service.root).iterdir()}
    assert names <= {
        "token",
        "service.db",
        "service.db-wal",
        "service.db-shm",
        "service.lock",
        "files",
        "jobs",
        "models",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"train": {"a": NaN}}', "NaN"),
        ('{"train": {"a": 1e999}}', "infinity"),
        ('{"train": {"a": "\\ud800"}}', "surrogate"),
        ('{"train": {"\\ud800": 1}}', "surrogate"),
        ('{"\\udfff": {}}', "surrogate"),
        ('{"data": {"template": ["a\\u0000"]}}', "control"),
        ('{"train": {"a": ' + "9" * 400 + "}}", "63 bits"),
    ],
)
def test_values_that_no_recipe_holds(client: httpx2.Client, service: RunningService, text: str, words: str) -> None:
    """Python reads them from JSON; they would fail later, in the store or in an answer."""
    body = f'{{"model": "tiny", "training_file": "{FILE}", "x_eyegraft": {{"recipe": {text}}}}}'
    headers = {**bearer(service.token), "content-type": "application/json"}
    answer = client.post("/v1/fine_tuning/jobs", content=body, headers=headers)
    assert answer.status_code == 400 and words in answer.json()["error"]["message"], answer.text


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/fine_tuning/jobs?limt=5", "limt"),
        ("/v1/fine_tuning/jobs?limit=5&limit=6", "limit"),
        ("/v1/fine_tuning/jobs?metadata[a][b]=6", "metadata[a][b]"),
        (f"/v1/fine_tuning/jobs/{JOB}?after=1", "after"),
        ("/v1/files?metadata[a]=6", "metadata[a]"),
    ],
)
def test_unknown_parameters_are_refused(client: httpx2.Client, service: RunningService, path: str, param: str) -> None:
    answer = client.get(path, headers=bearer(service.token))
    assert answer.status_code == 400 and answer.json()["error"]["param"] == param, answer.text


@pytest.mark.parametrize(
    ("fields", "file", "words"),
    [
        ({"purpose": "fine-tune", "expire": "1"}, ("a.jsonl", b"{}"), "'expire' is no field of an upload"),
        ({"purpose": ["fine-tune", "vision"]}, ("a.jsonl", b"{}"), "'purpose' is given twice"),
        ({"purpose": "fine-tune"}, (None, b"{}"), "file: is not a file"),
    ],
)
def test_forms_are_refused_by_name(
    client: httpx2.Client, service: RunningService, fields: dict[str, str], file: tuple[str, bytes], words: str
) -> None:
    answer = client.post("/v1/files", data=fields, files={"file": file}, headers=bearer(service.token))
    assert answer.status_code == 400 and words in answer.json()["error"]["message"], answer.text


def test_a_file_whose_content_is_gone(client: httpx2.Client, service: RunningService) -> None:
    right = bearer(service.token)
    files = {"file": ("a.jsonl", b"{}")}
    name = client.post("/v1/files", data={"purpose": "fine-tune"}, files=files, headers=right).json()["id"]
    (service.root / "files" / f"{name}.jsonl").unlink()
    answer = client.get(f"/v1/files/{name}/content", headers=right)
    assert answer.status_code == 404 and "is gone from the service's disk" in answer.json()["error"]["message"]
    assert client.delete(f"/v1/files/{name}", headers=right).status_code == 200


def test_an_equal_request_is_the_same_job_without_its_file(client: httpx2.Client, service: RunningService) -> None:
    right = {**bearer(service.token), "idempotency-key": "files come and go"}
    files = {"file": ("a.jsonl", b"nothing to train on")}
    name = client.post("/v1/files", data={"purpose": "fine-tune"}, files=files, headers=right).json()["id"]
    job = client.post("/v1/fine_tuning/jobs", json={"model": "tiny", "training_file": name}, headers=right).json()["id"]
    client.post(f"/v1/fine_tuning/jobs/{job}/cancel", headers=right)
    assert client.delete(f"/v1/files/{name}", headers=right).status_code == 200
    again = client.post("/v1/fine_tuning/jobs", json={"model": "tiny", "training_file": name}, headers=right)
    assert again.json().get("id") == job, again.text


def no_pages(*_: object) -> None:
    """Add nothing."""


def test_the_secret_is_shown_on_terminals_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Not in a log; and no trainer inherits the variables in which clients have secrets."""
    monkeypatch.setattr(launch, "listen", lambda *_: None)
    monkeypatch.setattr(launch, "find_slots", lambda: (Slot("cpu", "cpu", 0),))
    for name in launch.SECRETS:
        monkeypatch.setenv(name, "a client's secret")
    for shown in (False, True):
        monkeypatch.setattr("sys.stdout.isatty", lambda shown=shown: shown)
        models = TrainableModels({}, frozenset())
        launch.serve_jobs(tmp_path, models, "local", (), "127.0.0.1", 1, False, "", DEFAULT, no_pages, ())
        assert (read_token(tmp_path) in capsys.readouterr().out) == shown
        assert not {*launch.SECRETS} & os.environ.keys()


def test_fifty_equal_submissions_at_once_are_one_job(client: httpx2.Client, service: RunningService) -> None:
    """Over HTTP, with one Idempotency-Key and no seed; a request that differs is refused, whichever comes first."""
    right = {**bearer(service.token), "idempotency-key": "fifty at once"}
    files = {"file": ("a.jsonl", b"nothing to train on")}
    file = client.post("/v1/files", data={"purpose": "fine-tune"}, files=files, headers=right).json()["id"]
    bodies = [{"model": "tiny", "training_file": file, "suffix": f"s{number % 2}"} for number in range(50)]

    def submit(body: dict[str, str]) -> httpx2.Response:
        return client.post("/v1/fine_tuning/jobs", json=body, headers=right)

    with ThreadPoolExecutor(50) as pool:
        equal = list(pool.map(submit, [bodies[0]] * 50))
        right["idempotency-key"] = "fifty of two kinds"
        mixed = list(pool.map(submit, bodies))
    assert {answer.status_code for answer in equal} == {200} and len({answer.json()["id"] for answer in equal}) == 1
    assert len({answer.json()["seed"] for answer in equal}) == 1
    made = {answer.json()["id"] for answer in mixed if answer.status_code == 200}
    assert len(made) == 1 and [answer.status_code for answer in mixed].count(409) == 25
    for job in (equal[0].json()["id"], *made):
        client.post(f"/v1/fine_tuning/jobs/{job}/cancel", headers=right)
    found = client.get("/v1/fine_tuning/jobs?limit=100", headers=right).json()["data"]
    assert sum(job["training_file"] == file for job in found) == 2
