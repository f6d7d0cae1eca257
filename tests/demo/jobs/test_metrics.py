"""GET /metrics of a service: jobs, attempts, slots and event streams, as the database has them."""

from pathlib import Path

import httpx2

from demo.jobs.metrics import add_job_metrics
from demo.server.serving_metrics import ServingMetrics
from tests.demo.jobs.conftest import RunningService
from vlm.service.store.attempt_table import begin_attempt, end_attempt
from vlm.service.store.database import Database
from vlm.service.store.job_table import NewJob, Note, move, submit
from vlm.service.store.states import State


def samples(text: str) -> dict[str, float]:
    """Every sample by its name with labels."""
    lines = [line for line in text.split("\n") if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_jobs_attempts_and_slots_are_counted(tmp_path: Path) -> None:
    database = Database(tmp_path / "service.db")
    metrics = ServingMetrics()
    add_job_metrics(metrics, database, ["gpu0", "gpu1"])
    found = samples(metrics.text())
    assert {name for name in found if name.startswith("eyegraft_jobs{")} == {
        f'eyegraft_jobs{{state="{state.value}"}}' for state in State
    }
    jobs = [submit(database, NewJob({}, "base", {}, "file-1"))[0] for _ in range(3)]
    for job in jobs[:2]:
        assert move(database, job.id, {State.VALIDATING}, State.QUEUED, Note())
    first = begin_attempt(database, jobs[0].id, "local", ("gpu0",), 0)
    second = begin_attempt(database, jobs[1].id, "local", ("elsewhere",), 0)
    assert first and second
    found = samples(metrics.text())
    assert (found['eyegraft_jobs{state="validating"}'], found['eyegraft_jobs{state="starting"}']) == (1, 2)
    assert found['eyegraft_attempts{engine="local",state="running"}'] == 2
    assert (found["eyegraft_slots"], found["eyegraft_slots_busy"]) == (2, 1)
    assert end_attempt(database, first, State.FAILED, Note())
    found = samples(metrics.text())
    assert found['eyegraft_jobs{state="failed"}'] == found['eyegraft_attempts{engine="local",state="ended"}'] == 1
    assert found["eyegraft_slots_busy"] == 0
    database.close()


def test_the_service_answers_with_them_for_its_token(service: RunningService) -> None:
    secret = {"authorization": f"Bearer {service.token}"}
    with httpx2.Client(base_url=service.url, timeout=30) as client:
        assert client.get("/metrics").status_code == 401
        files = {"file": ("a.jsonl", b"nothing to train on")}
        file = client.post("/v1/files", data={"purpose": "fine-tune"}, files=files, headers=secret).json()["id"]
        body = {"model": "tiny", "training_file": file, "seed": 4711}
        job = client.post("/v1/fine_tuning/jobs", json=body, headers=secret).json()["id"]
        found = samples(client.get("/metrics", headers=secret).text)
        client.post(f"/v1/fine_tuning/jobs/{job}/cancel", headers=secret)
    assert found["eyegraft_slots"] == 1 and "eyegraft_requests_waiting" in found
    assert sum(value for name, value in found.items() if name.startswith("eyegraft_jobs{")) >= 1
    assert job not in str(found) and file not in str(found), "ids are no labels"
