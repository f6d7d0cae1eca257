"""Attacks on the server by a visitor of the page or a client of the API."""

import json
import random
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2 as httpx

from tests.attack.result import AttackResult
from tests.attack.target import SECRET, TOKEN, Target
from tests.demo.pages.test_page_events import hostile
from tests.demo.payloads import bombs, image_urls, page_paths

MIB = 2**20
CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
BODIES: dict[str, bytes] = {
    "a list of numbers": b'{"messages": [' + b"1," * (2 * MIB) + b"1]}",
    "200,000 stop words": b'{"stop": [' + b'"a",' * 200_000 + b'"a"]}',
    "60 MiB of objects": b"[" + b"{}," * (20 * MIB) + b"{}]",
    "a million brackets": b"[" * MIB,
    "60 MiB of strings": b"[" + b'"",' * (20 * MIB) + b'""]',
    "60 MiB of white space": b" " * (60 * MIB),
    "60 MiB of backslashes": b'{"model": "' + b"\\\\" * (30 * MIB) + b'"}',
    "70 MiB": b"x" * (70 * MIB),
    "messages as they may be, wrong": json.dumps({"messages": [1] * 19_000}).encode(),
    "a long model": json.dumps({"model": "m" * (20 * MIB), "messages": [{"role": "user", "content": "a"}]}).encode(),
    "a long text": json.dumps(
        {"model": "sft/run", "messages": [{"role": "user", "content": "a" * (8 * MIB)}]}
    ).encode(),
}
SLOWEST = 5.0  # seconds until a body must be answered


def attack_server(target: Target, stops: int) -> Iterator[AttackResult]:
    """All attacks in order, over loopback."""
    yield stopped(target, stops)
    yield bodies(target)
    yield images(target)
    yield sockets(target)
    yield events(target)
    yield paths(target)
    yield run_folders(target)


def stopped(target: Target, count: int) -> AttackResult:
    """Cancel answers at random moments, on Compare and the API in turn, and check that the server still answers."""
    chance, visit = random.Random(0), target.visit()
    compare, unanswered = visit.event("compare-question", "submit"), 0
    for number in range(count):
        pause = chance.choice([chance.uniform(0, 0.6), chance.uniform(0, 0.02)])
        if number % 2:
            session, names = f"stop{number}", ["pretrain/run", "sft/run"]
            values = [{"text": "What?", "files": []}, *names, "", chance.choice([0, 1.5]), 400, number]
            body = {"data": values, "event_data": None, "fn_index": compare["id"], "session_hash": session}
            joined = target.client.post(f"{target.url}/gradio_api/queue/join", json=body)
            time.sleep(pause)
            if joined.status_code == 200:
                ended = {"event_id": joined.json()["event_id"], "session_hash": session, "fn_index": compare["id"]}
                target.client.post(f"{target.url}/gradio_api/cancel", json=ended)
        else:
            asked = {"model": "sft/run", "messages": [{"role": "user", "content": "What?"}], "stream": number % 4 == 0}
            headers = {"authorization": f"Bearer {TOKEN}"}
            with suppress(httpx.TransportError), httpx.Client(timeout=max(pause, 0.005), headers=headers) as client:
                client.post(target.url + CHAT, json=asked)
        if number % 50 == 49:
            unanswered += not target.answers()
    return AttackResult(
        "stops", not unanswered, f"{count} stops, {unanswered} of {count // 50} checks without an answer"
    )


def bodies(target: Target) -> AttackResult:
    """Hostile request bodies must be refused in time."""
    slowest, wrong = 0.0, []
    for name, body in BODIES.items():
        for path in (CHAT, "/gradio_api/queue/join", "/gradio_api/run/predict"):
            began = time.monotonic()
            try:
                status = target.client.post(target.url + path, content=body, headers=JSON).status_code
            except httpx.TransportError:  # refused from its Content-Length: the rest was not read
                status = 413
            slowest = max(slowest, time.monotonic() - began)
            if status not in (400, 404, 413, 422):
                wrong.append(f"{name} at {path}: {status}")
    held = not wrong and slowest < SLOWEST
    return AttackResult(
        "bodies", held, f"{3 * len(BODIES)} bodies, slowest {slowest:.1f} s, not refused: {wrong or 'none'}"
    )


def images(target: Target) -> AttackResult:
    """Decompression bombs, addresses and file names as images."""
    from tests.demo.conftest import data_url

    urls = [*map(data_url, bombs().values()), *image_urls(str(target.secret), "http://127.0.0.1:1")]
    wrong = 0
    for url in urls:
        content = [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": url}}]
        body = {"model": "pretrain/run", "messages": [{"role": "user", "content": content}]}
        answer = target.client.post(target.url + CHAT, json=body)
        wrong += answer.status_code != 400 or SECRET in answer.text
    return AttackResult("pictures", not wrong, f"{len(urls)} bombs and addresses, {wrong} not refused")


def sockets(target: Target) -> AttackResult:
    """Silent connections, endless headers and missing bodies; the server must still answer."""
    begun = [b"", b"GET / HT", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n"]
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(("127.0.0.1", target.port))) for _ in range(60)]
        for number, one in enumerate(held):
            with suppress(OSError):  # above the limit per client: closed at once
                one.sendall(begun[number % 3])
        time.sleep(17)
        answers = target.ask(max_tokens=4).status_code == 200
        ended = sum(_is_ended(one) for one in held)
    return AttackResult("sockets", answers and ended == len(held), f"{ended} of {len(held)} silent sockets were closed")


def _is_ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def events(target: Target) -> AttackResult:
    """Fire every event of the page with every hostile value in every input, for two secret files."""
    visit, answers = target.visit(), list[str]()
    for secret in (target.secret, Path("/etc/passwd")):
        for number, value in enumerate(hostile(str(secret)).values()):
            said = {"index": 0, "value": value, "previous_value": "hi", "row_value": [value]}
            for event in visit.events:
                idle, session = visit.idle(event), f"event{number}"
                answers.append(visit.fire(session, event, idle, said))
                for place in range(len(idle)):
                    answers.append(visit.fire(session, event, [*idle[:place], value, *idle[place + 1 :]]))
    everything = "\n".join(answers)
    found = everything + visit.fetched(everything)
    disclosed = SECRET in found or "root:x:0" in found
    return AttackResult("events", not disclosed, f"{len(answers)} events, a file disclosed: {disclosed}")


def paths(target: Target) -> AttackResult:
    """Paths of files, of other servers and of Gradio's own endpoints."""
    wrong = []
    for path in [*page_paths(str(target.secret), "http://127.0.0.1:1"), "/gradio_api/info", "/monitoring"]:
        answer = target.client.get(target.url + path)
        if SECRET in answer.text or (answer.status_code == 200 and "<html" not in answer.text):
            wrong.append(path)
    return AttackResult("addresses", not wrong, f"disclosed: {wrong or 'none'}")


def run_folders(target: Target) -> AttackResult:
    """Broken run folders: the page must still list and show the others."""
    runs = target.folder / "runs"
    for name, text in {"brackets": "[" * 3000, "long": f"model: {{llm: {'x' * 5000}}}", "binary": "\0"}.items():
        (runs / name).mkdir()
        (runs / name / "config.yaml").write_text(text)
        (runs / name / "metrics.jsonl").write_text('{"step": 1}\n{"kind": "train", "step": 1, "loss": Infinity}\n')
    (runs / "binary/dangling").symlink_to("/nowhere")
    visit = target.visit()
    loads = [event for event in visit.events if "load" in [name for _, name in event["targets"]]]
    loaded = sum(_succeeded(visit.fire("runs", one, visit.idle(one))) for one in loads)
    look = visit.event("run", "change")
    said = [visit.fire("runs", look, [name, None]) for name in ("sft/run", "brackets", "long", "binary")]
    shown = sum(map(_succeeded, said))
    for name in ("brackets", "long", "binary"):
        shutil.rmtree(runs / name)
    held = shown == len(said) and loaded == len(loads) > 0
    return AttackResult(
        "run folders", held, f"{shown} of {len(said)} shown, {loaded} of {len(loads)} loading events succeed"
    )


def _succeeded(answer: str) -> bool:
    """Whether an event was answered: one of the queue says so, one without has its data."""
    bare = answer.replace(" ", "")
    return '"success":true' in bare or ('"success"' not in bare and '"is_generating":false' in bare)
