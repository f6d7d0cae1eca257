"""Runs that were started by hand, over HTTP and in `eyegraft jobs`: seen, and never changed."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from llm.errors import ConfigError, ServiceError
from llm.train.run_folder import exclusive_writer
from tests.demo.jobs.conftest import RunningService
from vlm.app import cli_jobs

WAIT_S = 120.0


@pytest.fixture(scope="module")
def client(service: RunningService) -> Iterator[httpx2.Client]:
    headers = {"authorization": f"Bearer {service.token}"}
    with httpx2.Client(base_url=service.url, headers=headers, timeout=180) as opened:
        yield opened


def line(step: int, **figures: Any) -> str:
    known = {"kind": "train", "step": step, "loss": 1.5, "tokens_per_s": 30.0, "step_seconds": 100.0}
    return json.dumps({**known, "time": time.time(), **figures}) + "\n"


@pytest.fixture
def run(service: RunningService) -> Iterator[Path]:
    """A run that is being trained: 3 of 10 steps, 100 s each."""
    folder = service.runs / "by-hand"
    with exclusive_writer(folder):
        plan = json.dumps({"kind": "plan", "step": 0, "steps": 10, "time": time.time()})
        (folder / "metrics.jsonl").write_text(plan + "\n" + "".join(map(line, (1, 2, 3))))
        yield folder
    for file in folder.iterdir():
        file.unlink()


def seen(client: httpx2.Client, name: str = "runs/by-hand") -> dict[str, Any]:
    """A run, once the service has looked again."""
    until = time.monotonic() + WAIT_S
    while not (found := [one for one in client.get("/v1/x_runs").json()["data"] if one["name"] == name]):
        assert time.monotonic() < until
        time.sleep(0.1)
    (one,) = found
    assert isinstance(one, dict)
    return one


@pytest.mark.usefixtures("run")
def test_a_run_is_seen_and_openais_list_stays_clean(service: RunningService, client: httpx2.Client) -> None:
    one = seen(client)
    assert (one["object"], one["name"], one["x_state"]) == ("x_run", "runs/by-hand", "running")
    assert one["x_writer"].startswith("process ") and one["x_note"] is None
    progress = one["x_progress"]
    assert 600 < progress.pop("seconds_left") <= 701 and one["estimated_finish"] > time.time()
    assert progress == {"step": 3, "steps": 10, "speed": 30.0, "loss": 1.5}
    assert str(service.runs) not in json.dumps(one), "no path of the machine"
    assert client.get(f"/v1/x_runs/{one['id']}").json()["name"] == one["name"]
    assert one["id"] not in client.get("/v1/fine_tuning/jobs").text
    assert client.get(f"/v1/fine_tuning/jobs/{one['id']}").status_code == 404


@pytest.mark.usefixtures("run")
def test_it_cannot_be_changed(client: httpx2.Client) -> None:
    one = seen(client)
    path = f"/v1/fine_tuning/jobs/{one['id']}"
    for method, address in [("POST", f"{path}/{verb}") for verb in ("cancel", "pause", "resume")] + [("DELETE", path)]:
        answer = client.request(method, address)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (409, "invalid_state")
        assert "the service only watches it" in error["message"] and "SIGTERM" in error["message"]
    assert client.post("/v1/fine_tuning/jobs/xrun-none/cancel").status_code == 404
    assert seen(client)["x_state"] == "running"


def test_its_metrics_are_events(run: Path, client: httpx2.Client) -> None:
    path = f"/v1/x_runs/{seen(client)['id']}/events"
    newest = client.get(path, params={"limit": 3}).json()
    assert [event["data"]["step"] for event in newest["data"]] == [3, 2, 1] and newest["has_more"]
    rest = client.get(path, params={"after": newest["last_id"]}).json()
    assert [event["message"] for event in rest["data"]] == ["Training on steps=10"] and not rest["has_more"]
    assert client.get(path, params={"after": "ftevent-x"}).status_code == 400
    assert client.get("/v1/x_runs/xrun-none/events").status_code == 404
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").mkdir()
    broken = client.get(path)
    (run / "metrics.jsonl").rmdir()
    (run / "metrics.jsonl").touch()
    assert broken.status_code == 503 and str(run) not in broken.text


def test_its_stream_ends_with_it(service: RunningService, client: httpx2.Client) -> None:
    folder = service.runs / "short"
    texts: list[str] = []
    with exclusive_writer(folder):
        (folder / "metrics.jsonl").write_text(line(1))
        name = seen(client, "runs/short")["id"]
        with client.stream("GET", f"/v1/x_runs/{name}/events?stream=true") as stream:
            lines = stream.iter_lines()
            texts += [next(lines) for _ in range(2)]
            with (folder / "metrics.jsonl").open("a") as metrics:
                metrics.write(line(2))
            while '"step": 2' not in texts[-1]:
                texts.append(next(lines))
            (folder / "writer.lock").rename(folder / "gone.lock")  # as when the process has ended
            texts += lines
    assert texts[0].startswith("id: ftevent-") and texts[-2:] == ["data: [DONE]", ""]
    assert sum('"step": 2' in text for text in texts) == 1
    for file in folder.iterdir():
        file.unlink()


def test_pages_of_the_list(service: RunningService, client: httpx2.Client) -> None:
    for number in range(3):
        (service.runs / f"old-{number}").mkdir(parents=True)
        (service.runs / f"old-{number}/metrics.jsonl").write_text(line(1, time=100.0 + number))
    seen(client, "runs/old-2")
    complete = client.get("/v1/x_runs").json()["data"]
    assert [one["name"] for one in complete[-3:]] == ["runs/old-2", "runs/old-1", "runs/old-0"], "the oldest are last"
    first = client.get("/v1/x_runs", params={"limit": len(complete) - 1}).json()
    assert first["data"] == complete[:-1] and first["has_more"]
    rest = client.get("/v1/x_runs", params={"after": first["last_id"]}).json()
    assert [one["name"] for one in rest["data"]] == ["runs/old-0"] and not rest["has_more"]
    assert [one["x_state"] for one in rest["data"]] == ["stopped"]
    assert client.get("/v1/x_runs", params={"after": "xrun-none"}).status_code == 400
    for number in range(3):
        (service.runs / f"old-{number}/metrics.jsonl").unlink()


@pytest.mark.usefixtures("run")
def test_the_command(service: RunningService, client: httpx2.Client, capsys: pytest.CaptureFixture[str]) -> None:
    name = seen(client)["id"]
    where: dict[str, Any] = {"root": service.root, "url": service.url, "token": service.token}
    cli_jobs.list_jobs(limit=20, **where)
    row = next(text for text in capsys.readouterr().out.splitlines() if name in text)
    assert "outside, running" in row and "3/10" in row and "runs/by-hand" in row
    cli_jobs.show("runs/by-hand", **where)
    assert json.loads(capsys.readouterr().out)["id"] == name
    cli_jobs.logs(name[:12], **where)
    assert "Step 3: loss=1.5" in capsys.readouterr().out.splitlines()[-1]
    for act in (cli_jobs.pause, cli_jobs.cancel, cli_jobs.resume, cli_jobs.rm):
        with pytest.raises(ServiceError, match="the service only watches it"):
            act("runs/by-hand", **where)
    with pytest.raises(ConfigError, match="no job has that"):
        cli_jobs.show("runs/nowhere", **where)
    with pytest.raises(ServiceError, match="is running: it has no model yet"):
        cli_jobs.show(name, model=True, **where)
