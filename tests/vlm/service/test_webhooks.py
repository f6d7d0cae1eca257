"""Webhooks on the wire: signatures, tries, and where they never go."""

import base64
import hashlib
import hmac
import json
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from tests.vlm.service.webhook_receiver import Receiver, receiving
from vlm.service.store.database import Database
from vlm.service.store.delivery_table import count_deliveries, send_again
from vlm.service.store.event_table import list_events
from vlm.service.store.job_table import NewJob, Note, move, remove_job, submit
from vlm.service.store.rows import WebhookEndpoint
from vlm.service.store.states import State
from vlm.service.store.webhook_table import add_endpoint, find_endpoint, rotate_secret, update_endpoint
from vlm.service.webhooks import deliverer as deliverer_module
from vlm.service.webhooks import post as post_module
from vlm.service.webhooks.addresses import UrlError, read_url, refusal
from vlm.service.webhooks.deliverer import JITTER, WAITS_S, Deliverer
from vlm.service.webhooks.post import NoAnswerError, post
from vlm.service.webhooks.signing import new_secret, signed_headers

CANCELLED = "fine_tuning.job.cancelled"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Clock:
    """A clock that a test sets; it begins at the real time, at which the store writes."""

    def __init__(self) -> None:
        self.now = time.time() + 1

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "service.db")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def deliverer(database: Database, clock: Clock) -> Deliverer:
    return Deliverer(database, False, clock)


def endpoint(database: Database, url: str, secret: str = SECRET) -> WebhookEndpoint:
    return add_endpoint(database, "ci", url, [CANCELLED], secret)


def cancelled(database: Database) -> str:
    job = submit(database, NewJob({}, "base", {}, "file-1"))[0].id
    assert move(database, job, {State.VALIDATING}, State.CANCELLED, Note("cancelled"))
    return job


def verify(receiver: Receiver, secret: str, number: int = -1) -> str:
    """The job that a request names, by OpenAI's own verification."""
    _, headers, body = receiver.received[number]
    event = OpenAI(api_key="none").webhooks.unwrap(body, headers, secret=secret)
    assert event.type == CANCELLED
    return event.data.id


def test_a_signature_is_that_of_the_standard() -> None:
    """Computed here from the standard's text: HMAC-SHA256 of `id.timestamp.body` with the decoded secret."""
    headers = signed_headers("wh_1", 1_700_000_000, '{"a":"é"}', [SECRET])
    digest = hmac.digest(bytes(range(32)), 'wh_1.1700000000.{"a":"é"}'.encode(), hashlib.sha256)
    assert headers == {
        "webhook-id": "wh_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == 50 and all(len(base64.b64decode(secret[6:], validate=True)) >= 24 for secret in secrets)


def test_openais_client_verifies_what_arrives(database: Database, receiver: Receiver, deliverer: Deliverer) -> None:
    endpoint(database, f"{receiver.url}/hook?a=1&b=%20c")
    job = cancelled(database)
    deliverer.tick()
    path, headers, _ = receiver.received[0]
    assert verify(receiver, SECRET) == job
    with pytest.raises(InvalidWebhookSignatureError):
        verify(receiver, new_secret())
    assert path == "/hook?a=1&b=%20c" and headers["host"] == receiver.url.removeprefix("http://")
    assert headers["content-type"] == "application/json" and "authorization" not in headers
    deliverer.tick()
    assert len(receiver.received) == 1


def test_both_secrets_are_valid_while_they_overlap(
    database: Database, receiver: Receiver, deliverer: Deliverer, clock: Clock
) -> None:
    hook, second = endpoint(database, receiver.url), new_secret()
    rotate_secret(database, hook.id, second, overlap=True)
    job = cancelled(database)
    deliverer.tick()
    assert len(receiver.received[0][1]["webhook-signature"].split(" ")) == 2
    assert verify(receiver, SECRET) == verify(receiver, second) == job
    rotate_secret(database, hook.id, third := new_secret(), overlap=False)
    cancelled(database)
    deliverer.tick()
    verify(receiver, third)
    for old in (SECRET, second):
        with pytest.raises(InvalidWebhookSignatureError):
            verify(receiver, old)


def test_a_failure_is_tried_again_after_the_standards_waits(
    database: Database, receiver: Receiver, deliverer: Deliverer, clock: Clock
) -> None:
    hook, job = endpoint(database, receiver.url), cancelled(database)
    receiver.statuses = [500, 404, 503]
    for number, wait in enumerate((5, 300, 1800), start=1):
        deliverer.tick()
        assert len(receiver.received) == number
        clock.now += wait - 1
        deliverer.tick()
        assert len(receiver.received) == number, "a try before its time"
        clock.now += wait * JITTER + 2
    assert find_endpoint(database, hook.id).last_error == "the endpoint answered 503"
    deliverer.tick()
    assert len(receiver.received) == 4 and len(set(receiver.ids)) == 1, "one id for all tries"
    assert len({body for _, _, body in receiver.received}) == 1
    assert int(receiver.received[3][1]["webhook-timestamp"]) == int(clock.now)
    assert count_deliveries(database, hook.id) == {"waiting": 0, "delivered": 1, "given_up": 0}
    assert find_endpoint(database, hook.id).last_error is None
    assert [event.message for event in list_events(database, job, 9)[0]] == ["cancelled", "Created fine-tuning job"]


def test_tries_outlive_the_service(database: Database, receiver: Receiver, clock: Clock) -> None:
    """Another process goes on with the tries that are left, not from the first."""
    hook = endpoint(database, receiver.url)
    cancelled(database)
    receiver.statuses = [500, 500]
    Deliverer(database, False, clock).tick()
    reopened = Database(database.path)
    again = Deliverer(reopened, False, clock)
    again.tick()
    assert len(receiver.received) == 1
    clock.now += 6
    again.tick()
    clock.now += 6
    again.tick()
    assert len(receiver.received) == 2, "the second wait is five minutes"
    clock.now += 400
    again.tick()
    assert len(receiver.received) == 3 and count_deliveries(reopened, hook.id)["delivered"] == 1


def test_a_kill_while_an_endpoint_answers_sends_the_same_again(
    database: Database, receiver: Receiver, deliverer: Deliverer
) -> None:
    """At least once: what was received and not stored as such comes again, with the id that shows it."""
    hook = endpoint(database, f"{receiver.url}/slow")
    cancelled(database)
    code = (
        "import sys, pathlib; from vlm.service.store.database import Database as D; "
        "from vlm.service.webhooks.deliverer import Deliverer; Deliverer(D(pathlib.Path(sys.argv[1])), False).tick()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(database.path)]) as process:
        wait_for(lambda: len(receiver.received) == 1 or process.poll() is not None)
        process.kill()
    receiver.hold.set()
    assert count_deliveries(database, hook.id)["waiting"] == 1
    deliverer.tick()
    assert len(receiver.received) == 2 and len(set(receiver.ids)) == 1
    assert receiver.received[0][2] == receiver.received[1][2]
    assert count_deliveries(database, hook.id)["delivered"] == 1


def test_the_last_try_is_an_event_of_the_job(
    database: Database, receiver: Receiver, deliverer: Deliverer, clock: Clock
) -> None:
    hook, job = endpoint(database, f"{receiver.url}/?key=xyz"), cancelled(database)
    receiver.statuses = [500] * 20
    for wait in (*WAITS_S, 1, 1e6):
        deliverer.tick()
        clock.now += wait * (1 + JITTER) + 2
    deliverer.tick()
    assert len(receiver.received) == 10
    event = list_events(database, job, 1)[0][0]
    message = f"Webhook {hook.id}: {CANCELLED} was given up at try 10: the endpoint answered 500"
    assert event.level == "warn" and event.message == message
    assert event.data == {"webhook_id": receiver.ids[0], "endpoint_name": "ci"}
    assert "xyz" not in event.message and SECRET not in str(event)
    assert count_deliveries(database, hook.id) == {"waiting": 0, "delivered": 0, "given_up": 1}
    assert send_again(database, hook.id, job, clock.now) == 1
    deliverer.tick()
    assert count_deliveries(database, hook.id) == {"waiting": 1, "delivered": 0, "given_up": 0}  # ten tries again


def test_giving_up_on_a_removed_job_leaves_no_event(
    database: Database, receiver: Receiver, deliverer: Deliverer
) -> None:
    hook, job = endpoint(database, receiver.url), cancelled(database)
    remove_job(database, job)
    receiver.statuses = [410]
    deliverer.tick()
    assert count_deliveries(database, hook.id)["given_up"] == 1 and not list_events(database, job, 9)[0]


def test_gone_is_not_tried_again(database: Database, receiver: Receiver, deliverer: Deliverer) -> None:
    endpoint(database, receiver.url)
    job = cancelled(database)
    receiver.statuses = [410]
    deliverer.tick()
    assert "was switched off: the endpoint answered 410" in list_events(database, job, 1)[0][0].message


def test_an_endpoint_that_is_gone_is_switched_off_until_it_is_wanted_again(
    database: Database, receiver: Receiver, deliverer: Deliverer, clock: Clock
) -> None:
    hook = endpoint(database, receiver.url)
    jobs = [cancelled(database) for _ in range(3)]
    receiver.statuses = [410, 410]
    deliverer.tick()
    jobs.append(cancelled(database))
    clock.now += 100
    deliverer.tick()
    assert len(receiver.received) == 1 and find_endpoint(database, hook.id).gone_at is not None
    assert count_deliveries(database, hook.id) == {"waiting": 0, "delivered": 0, "given_up": 4}
    off = ["switched off" in list_events(database, job, 1)[0][0].message for job in jobs]
    assert off == [True, True, True, False]  # the last ended later
    assert send_again(database, hook.id, jobs[1], clock.now) == 1
    assert find_endpoint(database, hook.id).gone_at is None
    deliverer.tick()
    assert len(receiver.received) == 2 and find_endpoint(database, hook.id).gone_at is not None
    update_endpoint(database, hook.id, name="new")
    assert find_endpoint(database, hook.id).gone_at is not None
    update_endpoint(database, hook.id, url=hook.url)
    assert find_endpoint(database, hook.id).gone_at is None
    deliverer.tick()
    assert len(receiver.received) == 2  # what was given up waits to be asked for
    assert send_again(database, hook.id, None, clock.now) == 4
    deliverer.tick()
    assert [verify(receiver, SECRET, number) for number in range(2, 6)] == jobs
    assert receiver.ids[2] == receiver.ids[0] and receiver.ids[3] == receiver.ids[1]
    assert send_again(database, hook.id, None, clock.now) == 0
    assert count_deliveries(database, hook.id) == {"waiting": 0, "delivered": 4, "given_up": 0}


def test_an_endpoint_may_ask_for_a_longer_wait(
    database: Database, receiver: Receiver, deliverer: Deliverer, clock: Clock
) -> None:
    endpoint(database, receiver.url)
    cancelled(database)
    receiver.statuses, receiver.headers = [429], {"Retry-After": "600"}
    deliverer.tick()
    clock.now += 598
    deliverer.tick()
    assert len(receiver.received) == 1
    clock.now += 3
    deliverer.tick()
    assert len(receiver.received) == 2


def test_no_redirect_is_followed(database: Database, receiver: Receiver, deliverer: Deliverer) -> None:
    hook = endpoint(database, receiver.url)
    cancelled(database)
    with receiving() as elsewhere:
        for status in (301, 302, 307, 308):
            receiver.statuses, receiver.headers = [status], {"Location": elsewhere.url}
            assert post(receiver.url, {}, "{}", public=False).status == status
        receiver.statuses = [307]
        deliverer.tick()
        assert elsewhere.received == [] and count_deliveries(database, hook.id)["waiting"] == 1
    assert find_endpoint(database, hook.id).last_error == "the endpoint answered 307, a redirect, which is not followed"


def test_no_proxy_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert post(receiver.url, {"webhook-id": "a"}, "{}", public=False).status == 204


def test_one_that_hangs_does_not_hold_up_another(database: Database, receiver: Receiver, deliverer: Deliverer) -> None:
    """While the first endpoint gives no answer, the second receives all of its three."""
    endpoint(database, f"{receiver.url}/slow")
    endpoint(database, f"{receiver.url}/quick")
    for _ in range(3):
        cancelled(database)
    thread = threading.Thread(target=deliverer.tick)
    thread.start()
    wait_for(lambda: sum(path == "/quick" for path, _, _ in receiver.received) == 3)
    assert thread.is_alive() and sum(path == "/slow" for path, _, _ in receiver.received) == 1
    receiver.hold.set()
    thread.join()


def test_a_delivery_goes_to_the_new_address(
    database: Database, receiver: Receiver, deliverer: Deliverer, clock: Clock
) -> None:
    hook, job = endpoint(database, f"{receiver.url}/old"), cancelled(database)
    receiver.statuses = [500]
    deliverer.tick()
    update_endpoint(database, hook.id, url=f"{receiver.url}/new")
    clock.now += 10
    deliverer.tick()
    assert [path for path, _, _ in receiver.received] == ["/old", "/new"] and verify(receiver, SECRET) == job


def test_the_loop_delivers_and_outlives_a_disk_that_refuses(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deliverer_module, "PAUSE_S", 0.01)
    endpoint(database, receiver.url)
    stop = threading.Event()
    with database.transaction() as connection:
        connection.execute("ALTER TABLE webhook_deliveries RENAME TO hidden")
    thread = threading.Thread(target=Deliverer(database, False).run, args=[stop])
    thread.start()
    wait_for(lambda: "webhooks: " in caplog.text)
    with database.transaction() as connection:
        connection.execute("ALTER TABLE hidden RENAME TO webhook_deliveries")
    cancelled(database)
    wait_for(lambda: bool(receiver.received))
    stop.set()
    thread.join()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


ALWAYS = ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%lo", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
          "2002:a9fe:a9fe::1", "::169.254.169.254", "fd00:ec2::254", "fd00:ec2::254%1", "100.100.100.200",
          "168.63.129.16", "192.0.0.192", "0.0.0.0", "::", "224.0.0.1", "ff02::1"]  # fmt: skip
PRIVATE = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
           "fd00::1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "198.18.0.1", "240.0.0.1"]  # fmt: skip
OPEN = ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "2001:4860:4860::8888"]


@pytest.mark.parametrize("address", ALWAYS)
def test_metadata_addresses_are_refused(address: str) -> None:
    assert refusal(address, public=False) and refusal(address, public=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_refused_by_a_public_service(address: str) -> None:
    assert not refusal(address, public=False) and "the service is public" in refusal(address, public=True)


@pytest.mark.parametrize("address", OPEN)
def test_the_internet_is_open(address: str) -> None:
    assert not refusal(address, public=False) and not refusal(address, public=True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://a.example/x", "not the address of a web server"),
        ("file:///etc/passwd", "not the address of a web server"),
        ("javascript:alert(1)", "not the address of a web server"),
        ("a.example/x", "not the address of a web server"),
        ("https://", "not the address of a web server"),
        ("https:///x", "not the address of a web server"),
        ("http://a.example:0/", "not the address of a web server"),
        ("http://a.example:99999/", "Port out of range"),
        ("http://[::1/", "Invalid IPv6 URL"),
        ("http://user:secret@a.example/", "a user name, a password"),
        ("http://127.0.0.1\\@a.example/", "a user name, a password"),
        ("http://a.example/#x", "fragment"),
        ("http://a.example/ x", "a space"),
        ("http://a.example/\r\nX-A: b", "a space"),
        ("http://bücher.example/", "beyond ASCII"),
        ("http://a_b..*.example/", "not the name of a host"),
        (f"http://{'a' * 64}.example/", "not the name of a host"),
        ("http://a.example/" + "x" * 2048, "2065 characters, at most 2048"),
        ("http://169.254.169.254/latest/meta-data/", "169.254.169.254 is link-local or a metadata service"),
        ("http://[fe80::1%25eth0]/", "link-local"),
    ],
)
def test_urls_are_refused_with_the_reason(url: str, words: str) -> None:
    with pytest.raises(UrlError) as caught:
        read_url(url, public=False)
    assert words in str(caught.value) and str(caught.value).startswith("url: ")


def test_urls_are_read() -> None:
    assert [read_url("https://A.example", False).port, read_url("http://a.example:8080/?q=1", True).port] == [443, 8080]
    assert (
        read_url("http://a.example:8080?q=1", True).path == "/?q=1" and read_url("https://[2606::1]/", True).encrypted
    )
    with pytest.raises(UrlError, match="the service is public"):
        read_url("http://[::1]:80/", public=True)


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name lead to the addresses, as a name server of an attacker would."""

    def lookup(host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(post_module.socket, "getaddrinfo", lookup)


def test_what_a_name_leads_to_is_checked_when_it_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    port = receiver.url.rpartition(":")[2]
    resolving(monkeypatch, "169.254.169.254")
    with pytest.raises(NoAnswerError, match=r"nothing is sent there: 169\.254\.169\.254 is link-local"):
        post(f"http://metadata.example:{port}/", {}, "{}", public=False)
    resolving(monkeypatch, "127.0.0.1")
    with pytest.raises(NoAnswerError, match="the service is public"):
        post(f"http://rebound.example:{port}/", {}, "{}", public=True)
    assert receiver.received == []
    resolving(monkeypatch, "169.254.169.254", "127.0.0.1")  # the one that may be used is
    assert post(f"http://both.example:{port}/", {}, "{}", public=False).status == 204
    assert receiver.received[0][1]["host"] == f"both.example:{port}"


def test_a_delivery_to_a_metadata_address_is_never_made(
    database: Database, deliverer: Deliverer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = endpoint(database, "http://metadata.example/")
    resolving(monkeypatch, "169.254.169.254")
    connected: list[object] = []
    monkeypatch.setattr(post_module.socket.socket, "connect", lambda _, address: connected.append(address))
    cancelled(database)
    deliverer.tick()
    found = find_endpoint(database, hook.id).last_error
    assert found is not None and "hands out a machine's credentials" in found and connected == []


def raw_server(answer: bytes, pause: float = 0) -> str:
    """The address of a server that sends bytes whatever it is asked, one after the other with `pause`."""
    listening = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        connected, _ = listening.accept()
        with listening, connected:
            connected.recv(65536)
            try:
                for number in range(0, len(answer), 1 if pause else len(answer)):
                    connected.sendall(answer[number : number + 1] if pause else answer)
                    time.sleep(pause)
            except OSError:
                return  # the client has had enough

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/"


def test_a_slow_answer_is_not_waited_for_longer_than_the_limit() -> None:
    """Every byte comes in time for a time-out of single reads; only one for all of them ends it."""
    url = raw_server(b"HTTP/1.1 204 No Content\r\n" + b"X-A: b\r\n" * 1000, pause=0.05)
    before = time.monotonic()
    with pytest.raises(NoAnswerError, match="no answer in time"):
        post(url, {}, "{}", public=False, timeout=0.5)
    assert time.monotonic() - before < 60  # all of it would take seven minutes


def test_an_answer_is_read_up_to_a_limit() -> None:
    """A head of 6 MB, which http.client by itself would read, is refused; a body is not read."""
    url = raw_server(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-A: " + b"b" * 60_000 + b"\r\n" for _ in range(99)) + b"\r\n")
    with pytest.raises(NoAnswerError, match="no answer of a web server"):
        post(url, {}, "{}", public=False)
    url = raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n")
    assert post(url, {}, "{}", public=False).status == 200


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00\xff" * 50, b"HTTP/1.1 abc\r\n\r\n", b"\r\n" * 9])
def test_what_is_no_web_server_is_named(answer: bytes) -> None:
    with pytest.raises(NoAnswerError, match="no answer of a web server|no connection"):
        post(raw_server(answer), {}, "{}", public=False)


def test_reasons_are_in_words(receiver: Receiver) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()
    with pytest.raises(NoAnswerError, match="no connection: Connection refused"):
        post(f"http://127.0.0.1:{port}/", {}, "{}", public=False)
    with pytest.raises(NoAnswerError, match="no secure connection"):
        post(receiver.url.replace("http", "https"), {}, "{}", public=False)
    with pytest.raises(NoAnswerError, match="no connection"):
        post("http://nowhere.invalid/", {}, "{}", public=False)


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that nobody vouches for is refused before anything is sent, as is one of another host."""
    names, file, public = "subjectAltName=IP:127.0.0.1", tmp_path / "certificate.pem", tmp_path / "public.pem"
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test -addext {names} -keyout {file} -out {public}"
    subprocess.run(made.split(), check=True, capture_output=True)
    file.write_text(file.read_text() + public.read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    with receiving(context) as receiver:
        with pytest.raises(NoAnswerError, match="no secure connection: self-signed certificate"):
            post(receiver.url, {}, "{}", public=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(public))
        with pytest.raises(NoAnswerError, match="no secure connection: Hostname mismatch"):
            post(receiver.url.replace("127.0.0.1", "localhost"), {}, "{}", public=False)
        assert receiver.received == []
        assert post(receiver.url, {}, "{}", public=False).status == 204


def test_a_sample_is_signed_and_names_no_job(database: Database, receiver: Receiver) -> None:
    hook = endpoint(database, receiver.url)
    receiver.statuses = [418]
    answer = Deliverer(database, False).test(hook, CANCELLED)
    assert answer.status == 418 and verify(receiver, SECRET) == "ftjob-" + "0" * 24
    assert json.loads(receiver.received[0][2])["object"] == "event"
    assert count_deliveries(database, hook.id) == {"waiting": 0, "delivered": 0, "given_up": 0}
