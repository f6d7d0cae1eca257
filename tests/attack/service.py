"""Attacks on the training service: hostile texts in every place of its API, hostile archives and data through jobs."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.attack.result import AttackResult
from tests.attack.service_target import JOBS, OTHER_SECRETS, TOKEN, ServiceTarget
from tests.attack.target import SECRET
from tests.attack.watch import OpenedFiles, SeenProcesses
from tests.demo.hostile_strings import hostile_strings
from tests.demo.jobs.generated import check_generated, still_service
from tests.demo.jobs.hostile_archives import ARCHIVES
from tests.demo.jobs.hostile_recipes import try_recipes
from tests.demo.jobs.hostile_requests import HostileClient, requests_with
from tests.vlm.service.test_store import StoreMachine

SEQUENCES = 500  # of operations on the store
CASES = 100  # valid and as many invalid requests for each operation
ROWS = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}] * 4
SETTINGS: dict[str, dict[str, object]] = {
    "train": {"max_steps": 1, "batch": 1, "dtype": "fp32"},
    "data": {"template": "chatml"},
}


def attack_service() -> Iterator[AttackResult]:
    """All attacks on a service that runs, then on its parts."""
    with tempfile.TemporaryDirectory(prefix="eyegraft-attack-") as name:
        yield from _attack(Path(name).resolve())
    yield generated()
    yield store()


def _attack(folder: Path) -> Iterator[AttackResult]:
    with ServiceTarget(folder) as target:
        target.job(target.submit(target.upload("a.jsonl", _lines(ROWS), "fine-tune"), recipe=SETTINGS))  # caches
        before, watch = target.everything_outside(), OpenedFiles([target.secret, target.root / "token"])
        texts = hostile_strings(target.canary, target.secret, "http://127.0.0.1:1")
        secrets = {"the token": TOKEN, **OTHER_SECRETS}
        with SeenProcesses(str(target.root / "jobs"), secrets) as seen:
            yield fields(target, texts)
            yield archives(target)
            yield records(target, texts)
            yield trained(target, texts)
        yield recipes(target, texts)
        yield _disclosed(target, seen, watch.take())
        watch.close()
        after = target.everything_outside()
        changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        held = not changed and not target.canary.exists() and not list((folder / "tmp").iterdir())
        yield AttackResult("service: folders", held, f"changed outside of the service's own: {changed or 'nothing'}")


def _lines(rows: list[dict[str, object]]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def fields(target: ServiceTarget, texts: list[str]) -> AttackResult:
    """Every text in every place of the API."""
    hostile = HostileClient(target.client, (SECRET, TOKEN, str(target.root)))
    file, places = hostile.file(), Counter[str]()
    for text in texts:
        for request in requests_with(text, file):
            places[request.place] += 1
            hostile.send(request)
    found = f"{len(texts)} texts in {len(places)} places, {places.total()} requests"
    held = not hostile.faults and len(texts) >= 200
    return AttackResult("service: fields", held, f"{found}, wrong: {hostile.faults[:5] or 'none'}")


def archives(target: ServiceTarget) -> AttackResult:
    """Every hostile archive as the images of a job: the job fails with what is wrong with the archive."""
    rows = target.upload("a.jsonl", _lines([{**ROWS[0], "image": "a.png"}]), "fine-tune")
    jobs, wrong = dict[str, str](), list[str]()
    for name, make in ARCHIVES.items():
        uploaded = target.upload(name, make(str(target.canary)), "vision")
        jobs[name] = target.submit(rows, images=uploaded)
    for name, job in jobs.items():
        error = target.job(job)["error"] or {}
        if error.get("code") != "invalid_archive" or str(target.root) in json.dumps(error):
            wrong.append(f"{name}: {error}")
    return AttackResult("service: archives", not wrong, f"{len(jobs)} archives, not refused by name: {wrong or 'none'}")


def records(target: ServiceTarget, texts: list[str]) -> AttackResult:
    """Records that name files and addresses as their images: refused by their line, or unread."""
    named = [text for text in texts if "/" in text or "\\" in text]
    jobs, wrong = dict[str, str](), list[str]()
    for text in named[::8]:
        question = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": text}}]}
        row = {"messages": [question, {"role": "assistant", "content": "x"}]}
        jobs[text] = target.submit(target.upload("a.jsonl", _lines([row]), "fine-tune"))
    for text, job in jobs.items():
        error = target.job(job)["error"] or {}
        if error.get("code") != "invalid_training_file" or str(target.root) in json.dumps(error):
            wrong.append(f"{text[:40]!r}: {error}")
    return AttackResult("service: records", not wrong, f"{len(jobs)} images elsewhere, not refused: {wrong or 'none'}")


def trained(target: ServiceTarget, texts: list[str]) -> AttackResult:
    """Texts that a recipe takes as they are, through training: system prompts, probes, names of layers."""
    plain = [text for text in texts if text.isprintable() and text.strip()]
    probes = [{"prompt": text, "system": text, "expect": text, "max_new_tokens": 1} for text in plain[::3]]
    rows = [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]} for text in plain]
    file = target.upload("a.jsonl", _lines(rows), "fine-tune")
    bad = {**SETTINGS, "data": {"template": plain[0]}}, {**SETTINGS, "tune": {"targets": plain[:2]}}
    jobs = [target.job(target.submit(file, recipe=recipe)) for recipe in bad]
    wrong = [job["error"] for job in jobs if not job["error"] or not job["error"]["code"].startswith("invalid_")]
    good = {"train": {**SETTINGS["train"], "probes": probes}, "data": {**SETTINGS["data"], "system": plain[1]}}
    done = target.job(target.submit(file, recipe=good))
    wrong += [] if done["status"] == "succeeded" else [done["error"]]
    found = f"{len(rows)} records and {len(probes)} probes trained"
    return AttackResult("service: training", not wrong, f"{found}, wrong: {wrong or 'none'}")


def recipes(target: ServiceTarget, texts: list[str]) -> AttackResult:
    """Every text in every key of a recipe, read as the gate reads it."""
    models = {"tiny": str(target.models / "llama"), "clip": str(target.models / "clip")}
    found = try_recipes(target.folder / "tmp", texts, models)
    (target.folder / "tmp" / "a.jsonl").unlink()
    wrong = found.faults[:5] or "none"
    return AttackResult("service: recipes", not found.faults, f"{found.count} recipes, wrong: {wrong}")


def _disclosed(target: ServiceTarget, seen: SeenProcesses, opened: set[str]) -> AttackResult:
    """The token and a file's secret: in no log, event, metric, argument or environment."""
    places = [*target.files_with(TOKEN), *target.files_with(SECRET), *map(": ".join, sorted(seen.found))]
    for job in target.client.get(JOBS, params={"limit": 100}).json()["data"]:
        events = target.client.get(f"{JOBS}/{job['id']}/events", params={"limit": 100}).text
        places += [f"events of {job['id']}"] if TOKEN in events or SECRET in events else []
    wanted = {"demo.jobs.gate.job_gate", "vlm.service.attempts.wrapper", "vlm.app"}
    held = not places and not opened and wanted <= seen.programs
    return AttackResult(
        "service: secrets", held,
        f"looked at {', '.join(sorted(seen.programs))}; disclosed: {places or 'nothing'}; read: {opened or 'nothing'}",
    )  # fmt: skip


def generated() -> AttackResult:
    """Requests that schemathesis makes of the service's OpenAPI document."""
    with tempfile.TemporaryDirectory(prefix="eyegraft-attack-") as name, still_service(Path(name), Path(name)) as app:
        try:
            seen = check_generated(app, Path(name), CASES)
        except (AssertionError, BaseExceptionGroup) as error:
            return AttackResult("service: generated", False, str(error)[:2000])
    requests = sum(statuses.total() for statuses in seen.values())
    return AttackResult("service: generated", True, f"{requests} requests to {len(seen)} operations, all as documented")


def store() -> AttackResult:
    """Any order of operations on the store over two connections, with restarts, against a model of it."""
    begun = 0

    class Counted(StoreMachine):
        def __init__(self) -> None:
            nonlocal begun
            begun += 1
            super().__init__()

    wanted = settings(
        max_examples=SEQUENCES,
        deadline=None,
        stateful_step_count=30,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    try:
        run_state_machine_as_test(Counted, settings=wanted)
    except AssertionError as error:
        return AttackResult("service: store", False, str(error)[:2000])
    return AttackResult(
        "service: store", begun >= SEQUENCES, f"{begun} sequences of up to 30 operations, all as the model"
    )


if __name__ == "__main__":
    for one in attack_service():
        print(f"{'ok ' if one.held else 'NOT'} {one.name}: {one.figure}", flush=True)
