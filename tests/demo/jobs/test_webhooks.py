"""OpenAI's own client: every call of `client.webhooks`, and deliveries that it verifies."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import BadRequestError, InvalidWebhookSignatureError, NotFoundError, OpenAI

from demo.jobs.launch import ServiceOptions, running
from demo.server.guard import LOOPBACK
from tests.demo.conftest import LIMITS, listening
from tests.demo.jobs.conftest import RunningService
from tests.docs.blocks import ROOT, blocks_of
from tests.vlm.service.webhook_receiver import Receiver, receiving
from vlm.app.cli_jobs import jobs_app
from vlm.service.engines.engine import Slot
from vlm.service.trainable_models import TrainableModels

ROWS = [{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}, {"messages": []}]
FAILED, CANCELLED = "fine_tuning.job.failed", "fine_tuning.job.cancelled"
SENT = ["fine_tuning.job.succeeded", FAILED, CANCELLED]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def client(service: RunningService) -> Iterator[OpenAI]:
    """OpenAI's client; the endpoints of a test end with it."""
    opened = service.client
    yield opened
    for endpoint in opened.webhooks.list():
        opened.webhooks.delete(endpoint.id)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def submit(client: OpenAI) -> str:
    """A job whose data is wrong: it fails when it is looked at, unless it is cancelled before."""
    content = "\n".join(map(json.dumps, ROWS)).encode()
    file = client.files.create(file=("a.jsonl", content), purpose="fine-tune").id
    return client.fine_tuning.jobs.create(model="tiny", training_file=file).id


def test_a_cancelled_and_a_failed_job_are_delivered(client: OpenAI, receiver: Receiver) -> None:
    hook = client.webhooks.create(
        name="ci", url=receiver.url, event_types=["fine_tuning.job.cancelled", "fine_tuning.job.failed"]
    )
    expected = {submit(client): FAILED, submit(client): CANCELLED}
    failing, cancelled = expected
    client.fine_tuning.jobs.cancel(cancelled)
    wait_for(lambda: len(receiver.received) == 2)
    events = [
        client.webhooks.unwrap(body, headers, secret=hook.signing_secret) for _, headers, body in receiver.received
    ]
    assert {event.data.id: event.type for event in events if hasattr(event.data, "id")} == expected
    for event, (_, headers, body) in zip(events, receiver.received, strict=True):
        job = client.fine_tuning.jobs.retrieve(json.loads(body)["data"]["id"])
        assert event.created_at == job.finished_at and event.id.startswith("evt_") and event.object == "event"
        assert event.model_extra == {} and headers["webhook-id"].startswith("wh_")
        with pytest.raises(InvalidWebhookSignatureError):
            client.webhooks.verify_signature(body + b" ", headers, secret=hook.signing_secret)
        client.webhooks.verify_signature(body, headers, secret=hook.signing_secret)
    wait_for(lambda: extra(client, hook.id)["delivered"] == 2)
    assert extra(client, hook.id) == {"waiting": 0, "delivered": 2, "given_up": 0, "last_error": None}
    assert client.fine_tuning.jobs.retrieve(failing).status == "failed"


def extra(client: OpenAI, name: str) -> dict[str, Any]:
    found = client.webhooks.retrieve(name).model_extra
    assert found is not None
    return dict(found["x_deliveries"])


def test_endpoints_are_made_listed_changed_and_deleted(client: OpenAI) -> None:
    names = [
        client.webhooks.create(name=f"n{n}", url="https://a.example/h", event_types=["fine_tuning.job.failed"])
        for n in range(3)
    ]
    first = names[0]
    assert first.object == "webhook_endpoint" and first.updated_at == first.created_at
    assert (
        first.signing_secret.startswith("whsec_")
        and first.signing_secret_hint == f"whsec_...{first.signing_secret[-4:]}"
    )
    page = client.webhooks.list(limit=2)
    assert [one.name for one in page.data] == ["n2", "n1"] and page.has_more
    assert [one.name for one in client.webhooks.list(limit=2)] == ["n2", "n1", "n0"]  # pages are followed
    assert [one.name for one in client.webhooks.list(after=names[1].id)] == ["n0"]
    shown = client.webhooks.retrieve(first.id)
    assert shown.url == "https://a.example/h" and shown.event_types == [FAILED]
    assert first.signing_secret not in json.dumps([page.to_dict(), shown.to_dict()])
    changed = client.webhooks.update(
        first.id, name="new", url="http://b.example:81/", event_types=["fine_tuning.job.cancelled"]
    )
    assert (changed.name, changed.url, changed.event_types) == ("new", "http://b.example:81/", [CANCELLED])
    assert client.webhooks.update(first.id, name="newer").url == "http://b.example:81/"
    assert client.webhooks.update(first.id) == client.webhooks.retrieve(first.id)
    assert client.webhooks.delete(first.id).deleted
    with pytest.raises(NotFoundError, match=first.id):
        client.webhooks.retrieve(first.id)
    with pytest.raises(NotFoundError):
        client.webhooks.list(after=first.id)


def test_what_is_sent_is_listed_and_all_else_refused(client: OpenAI) -> None:
    assert client.webhooks.event_types.list().data == SENT
    with pytest.raises(BadRequestError, match=r"event_types\.1: 'batch\.completed' is never sent by this service"):
        client.webhooks.create(
            name="a", url="https://a.example", event_types=["fine_tuning.job.failed", "batch.completed"]
        )
    hook = client.webhooks.create(
        name="a", url="https://a.example", event_types=["fine_tuning.job.failed", "fine_tuning.job.failed"]
    )
    assert hook.event_types == [FAILED]
    with pytest.raises(BadRequestError, match="event_type: 'video.failed' is never sent"):
        client.webhooks.test(hook.id, event_type="video.failed")
    with pytest.raises(BadRequestError, match="never sent"):
        client.webhooks.update(hook.id, event_types=["safety.alert.created"])


def test_a_secret_is_rotated(client: OpenAI, receiver: Receiver) -> None:
    hook = client.webhooks.create(name="a", url=receiver.url, event_types=["fine_tuning.job.failed"])
    second = client.webhooks.rotate_secret(hook.id, keep_old_secret_active_for_24_hours=True)
    assert second.id == hook.id and second.signing_secret != hook.signing_secret
    client.webhooks.test(hook.id, event_type="fine_tuning.job.failed")
    third = client.webhooks.rotate_secret(hook.id)
    client.webhooks.test(hook.id, event_type="fine_tuning.job.failed")

    def opens(number: int, secret: str) -> bool:
        _, headers, body = receiver.received[number]
        try:
            client.webhooks.verify_signature(body, headers, secret=secret)
        except InvalidWebhookSignatureError:
            return False
        return True

    secrets = [hook.signing_secret, second.signing_secret, third.signing_secret]
    assert [opens(0, secret) for secret in secrets] == [True, True, False]
    assert [opens(1, secret) for secret in secrets] == [False, False, True]


def test_a_sample_is_sent_at_once(client: OpenAI, receiver: Receiver) -> None:
    hook = client.webhooks.create(name="a", url=receiver.url, event_types=["fine_tuning.job.failed"])
    receiver.statuses = [503]
    result = client.webhooks.test(hook.id, event_type="fine_tuning.job.succeeded")
    assert (result.success, result.status_code, result.event_type) == (True, 503, "fine_tuning.job.succeeded")
    assert result.object == "webhook_endpoint.test" and result.webhook_endpoint_id == hook.id
    _, headers, body = receiver.received[0]
    event = client.webhooks.unwrap(body, headers, secret=hook.signing_secret)
    assert event.type == "fine_tuning.job.succeeded" and event.data.id == "ftjob-" + "0" * 24
    client.webhooks.update(hook.id, url="http://127.0.0.1:1/")
    with pytest.raises(BadRequestError, match="no connection: Connection refused"):
        client.webhooks.test(hook.id, event_type="fine_tuning.job.failed")
    assert client.webhooks.retrieve(hook.id).updated_at is not None and len(receiver.received) == 1


def test_what_was_given_up_is_sent_again(
    client: OpenAI, service: RunningService, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    """By a call and by the command; an endpoint that answers 410 is shown as switched off until then."""
    hook = client.webhooks.create(name="a", url=receiver.url, event_types=["fine_tuning.job.cancelled"])
    receiver.statuses, where = [410, 410], ["--url", service.url, "--token", service.token]
    job = submit(client)
    client.fine_tuning.jobs.cancel(job)

    def is_off() -> bool:
        return (client.webhooks.retrieve(hook.id).model_extra or {})["x_switched_off_at"] is not None

    wait_for(is_off)
    jobs_app(["webhooks", *where], standalone_mode=False)
    assert capsys.readouterr().out.split()[-6:] == [hook.id, "off", "0", "0", "1", receiver.url]
    path = f"{service.url}/v1/webhook_endpoints/{hook.id}/x_resend"
    right = {"authorization": f"Bearer {service.token}"}
    assert httpx2.post(path, json={"job": "ftjob-" + "0" * 24}, headers=right).json()["deliveries"] == 0
    assert not is_off()
    assert httpx2.post(path, headers=right).json()["deliveries"] == 1
    wait_for(is_off)
    jobs_app(["resend", hook.id, "--job", job, *where], standalone_mode=False)
    assert capsys.readouterr().out == f"{hook.id}: 1 deliveries are sent again\n"
    wait_for(lambda: len(receiver.received) == 3 and extra(client, hook.id)["delivered"] == 1)
    assert httpx2.post(path, json={"all": True}, headers=right).json()["error"]["param"] == "all"


REFUSED = [
    ({"url": "http://169.254.169.254/latest"}, "url", "hands out a machine's credentials"),
    ({"url": "ftp://a.example/"}, "url", "not the address of a web server"),
    ({"url": ""}, "url", "1"),
    ({"url": 7}, "url", "not a text"),
    ({"name": ""}, "name", "1"),
    ({"name": "a\nb"}, "name", "pattern"),
    ({"name": "\ud800"}, "name", "unicode"),
    ({"name": None}, "name", "not a text"),
    ({"event_types": []}, "event_types", "1"),
    ({"event_types": None}, "event_types", ""),
    ({"secret": "mine"}, "secret", ""),
    ({"enabled": False}, "enabled", ""),
]


@pytest.mark.parametrize(("changes", "param", "words"), REFUSED)
@pytest.mark.parametrize("existing", [False, True])
def test_requests_are_refused_by_name(
    client: OpenAI, service: RunningService, changes: dict[str, object], param: str, words: str, existing: bool
) -> None:
    given: dict[str, object] = {"name": "a", "url": "https://a.example/", "event_types": [FAILED]}
    path = "/v1/webhook_endpoints"
    right = {"authorization": f"Bearer {service.token}"}
    with httpx2.Client(base_url=service.url, headers=right, timeout=60) as http:
        if existing:
            path += "/" + http.post(path, json=given).json()["id"]
            before, given = http.get(path).json(), {}
        content = json.dumps({**given, **changes})  # escaped, as httpx2 would not send half a character
        answer = http.post(path, content=content, headers={"content-type": "application/json"})
        error = answer.json()["error"]
        assert answer.status_code == 400 and error["param"] == param and words in error["message"], error
        assert not existing or http.get(path).json() == before


def test_other_bodies_are_refused_by_name(client: OpenAI, service: RunningService) -> None:
    hook = client.webhooks.create(name="a", url="https://a.example", event_types=["fine_tuning.job.failed"])
    path = f"{service.url}/v1/webhook_endpoints/{hook.id}"
    for action, body, param in (
        ("rotate_secret", {"keep": True}, "keep"),
        ("rotate_secret", {"keep_old_secret_active_for_24_hours": "yes"}, "keep_old_secret_active_for_24_hours"),
        ("test", {}, "event_type"),
        ("test", {"event_type": FAILED, "job": "x"}, "job"),
    ):
        answer = httpx2.post(f"{path}/{action}", json=body, headers={"authorization": f"Bearer {service.token}"})
        assert answer.status_code == 400 and answer.json()["error"]["param"] == param, answer.text
    answer = httpx2.post(f"{path}/rotate_secret", headers={"authorization": f"Bearer {service.token}"})
    assert answer.status_code == 200 and answer.json()["signing_secret"].startswith("whsec_")


def test_the_examples_of_the_page_work(client: OpenAI, service: RunningService) -> None:
    """Its three blocks in processes of their own, with the address and the port of this test."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    page = ROOT / "docs/how-to/webhooks.md"
    texts = [block.text for block in blocks_of(page) if block.language == "python"]
    name, receive, sample = (
        text.replace("http://127.0.0.1:8000", service.url).replace("9000", str(port)) for text in texts
    )
    environment = {**os.environ, "EYEGRAFT_TOKEN": service.token}

    def run(text: str, *words: str) -> str:
        command = [sys.executable, "-c", text, *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    hook, secret = run(name).split()
    command = [sys.executable, "-c", receive]
    environment["OPENAI_WEBHOOK_SECRET"] = secret
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            wait_for(lambda: answers(port) or receiver.poll() is not None)
            assert run(sample, hook) == "204\n"
            forged = httpx2.post(f"http://127.0.0.1:{port}/", content=b"{}", headers={"webhook-id": "a"})
            assert forged.status_code == 400
        finally:
            receiver.terminate()
        assert receiver.communicate()[0] == f"fine_tuning.job.succeeded ftjob-{'0' * 24}\n"


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_a_public_service_sends_nothing_into_its_own_network(tmp_path: Path, receiver: Receiver) -> None:
    """Refused when it is named, and when a name leads there."""
    models = TrainableModels({}, frozenset({"org/model"}))
    options = ServiceOptions(tmp_path, models, (Slot("cpu", "cpu", 1),), "token", LOOPBACK, LIMITS, public=True)
    with running(options) as (app, _), listening(app) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="token", max_retries=0)
        with pytest.raises(BadRequestError, match="the service is public") as caught:
            client.webhooks.create(name="a", url=receiver.url, event_types=["fine_tuning.job.failed"])
        assert caught.value.param == "url" and caught.value.code == "invalid_url"
        named = receiver.url.replace("127.0.0.1", "localhost")
        hook = client.webhooks.create(name="a", url=named, event_types=["fine_tuning.job.failed"])
        with pytest.raises(BadRequestError, match="nothing is sent there: .* the service is public") as caught:
            client.webhooks.test(hook.id, event_type="fine_tuning.job.failed")
        assert caught.value.code == "no_answer" and receiver.received == []
