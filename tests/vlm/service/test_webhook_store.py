"""Webhooks in the store: a delivery is written with the end that it reports, or neither is; secrets and rotation."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vlm.service.store import webhook_table
from vlm.service.store.attempt_table import begin_attempt, end_attempt
from vlm.service.store.database import Database
from vlm.service.store.delivery_table import count_deliveries, endpoints_due, next_delivery, postpone, settle_delivered
from vlm.service.store.event_table import list_events
from vlm.service.store.job_table import NewJob, Note, find_job, move, remove_job, submit
from vlm.service.store.rows import WebhookEndpoint
from vlm.service.store.states import State
from vlm.service.store.webhook_table import (
    MOST_ENDPOINTS,
    MOST_SECRETS,
    UnknownEndpointError,
    WebhookLimitError,
    add_endpoint,
    find_endpoint,
    list_endpoints,
    remove_endpoint,
    rotate_secret,
    signing_secrets,
    update_endpoint,
)

ENDS = {"succeeded": "fine_tuning.job.succeeded", "failed": "fine_tuning.job.failed"}
CANCELLED = "fine_tuning.job.cancelled"
LATER = 1 << 40


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "service.db")


def endpoint(database: Database, *events: str, secret: str = "whsec_b25l") -> WebhookEndpoint:
    return add_endpoint(database, "ci", "http://127.0.0.1:9/hook", events or (CANCELLED,), secret)


def new_job(database: Database) -> str:
    return submit(database, NewJob({}, "base", {}, "file-1"))[0].id


def cancelled(database: Database) -> str:
    job = new_job(database)
    assert move(database, job, {State.VALIDATING}, State.CANCELLED, Note("cancelled"))
    return job


def rows(database: Database) -> list[tuple[str, str, str, str]]:
    """Endpoint, job, event and state of every delivery."""
    found = database.rows("SELECT endpoint, job, event_type, state FROM webhook_deliveries ORDER BY sequence")
    return [tuple(row) for row in found]


def test_an_end_is_delivered_to_those_who_want_it(database: Database) -> None:
    all_ends, only_failed = endpoint(database, *ENDS.values(), CANCELLED), endpoint(database, ENDS["failed"])
    gone = cancelled(database)
    assert rows(database) == [(all_ends.id, gone, CANCELLED, "waiting")]
    trained = {}
    for end in ENDS:
        job = trained[end] = new_job(database)
        move(database, job, {State.VALIDATING}, State.QUEUED)
        attempt = begin_attempt(database, job, "local", ("cpu",), 0)
        assert attempt is not None
        move(database, job, {State.STARTING}, State.RUNNING)
        assert len(rows(database)) == len(trained)  # no other change is reported
        assert end_attempt(database, attempt, State(end), Note("ended"))
        assert not end_attempt(database, attempt, State(end), Note("ended"))
    assert rows(database)[1:] == [
        (all_ends.id, trained["succeeded"], ENDS["succeeded"], "waiting"),
        (all_ends.id, trained["failed"], ENDS["failed"], "waiting"),
        (only_failed.id, trained["failed"], ENDS["failed"], "waiting"),
    ]


def test_a_body_is_openais(database: Database) -> None:
    hook, job = endpoint(database), cancelled(database)
    delivery, found = next_delivery(database, hook.id, LATER), find_job(database, job)
    assert delivery is not None and found is not None
    event = json.loads(delivery.body)
    assert event.pop("id").startswith("evt_")
    assert event == {"object": "event", "created_at": found.finished_at, "type": CANCELLED, "data": {"id": job}}
    assert delivery.id.startswith("wh_") and delivery.tries == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from vlm.service.store.database import Database
from vlm.service.store.job_table import move, Note
from vlm.service.store.states import State
database, left = Database(Path(sys.argv[1])), [int(sys.argv[3])]
def count(statement):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
database._connection.set_trace_callback(count)
move(database, sys.argv[2], {State.VALIDATING}, State.CANCELLED, Note("cancelled"))
print("moved")
"""


def test_a_kill_at_any_statement_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """A process is killed before each statement of the change in turn; another one makes the change again."""
    seen = set()
    for number in range(20):
        database = Database(tmp_path / f"{number}.db")
        hook, job = endpoint(database), new_job(database)
        command = [sys.executable, "-c", KILLED, str(database.path), job, str(number)]
        done = subprocess.run(command, capture_output=True, text=True)
        found = find_job(database, job)
        assert found is not None
        assert (found.state is State.CANCELLED) == (len(rows(database)) == 1), f"killed before statement {number}"
        seen.add(found.state)
        move(database, job, {State.VALIDATING}, State.CANCELLED, Note("cancelled"))
        assert rows(database) == [(hook.id, job, CANCELLED, "waiting")]
        database.close()
        if done.returncode == 0:
            assert done.stdout == "moved\n" and number >= 5  # BEGIN, UPDATE, the event, the delivery, COMMIT
            break
        assert done.returncode == -9, done.stderr
    else:
        pytest.fail("the change never came to its end")
    assert seen == {State.VALIDATING, State.CANCELLED}


def test_a_removed_job_is_still_reported(database: Database) -> None:
    hook, job = endpoint(database), cancelled(database)
    remove_job(database, job)
    delivery = next_delivery(database, hook.id, LATER)
    assert delivery is not None and delivery.job == job
    settle_delivered(database, delivery)
    assert count_deliveries(database, hook.id) == {"waiting": 0, "delivered": 1, "given_up": 0}
    other = cancelled(database)
    delivery = next_delivery(database, hook.id, LATER)
    assert delivery is not None
    settle_delivered(database, delivery)
    remove_job(database, other)
    assert [row[1] for row in rows(database)] == [job]


def test_a_removed_endpoint_takes_everything_along(database: Database) -> None:
    hook, other = endpoint(database), endpoint(database)
    cancelled(database)
    remove_endpoint(database, hook.id)
    assert [row[0] for row in rows(database)] == [other.id] and endpoints_due(database, LATER) == [other.id]
    assert database.rows("SELECT DISTINCT endpoint FROM webhook_secrets")[0][0] == other.id
    for call in (find_endpoint, remove_endpoint, update_endpoint):
        with pytest.raises(UnknownEndpointError, match=hook.id):
            call(database, hook.id)
    with pytest.raises(UnknownEndpointError):
        signing_secrets(database, hook.id, 0)


def test_a_clock_that_is_set_back_holds_nothing_up(database: Database) -> None:
    """A delivery waits a day from a time years ahead; then the clock is right again."""
    hook, _ = endpoint(database), cancelled(database)
    delivery = next_delivery(database, hook.id, LATER)
    assert delivery is not None
    postpone(database, delivery, "down", LATER, 86_400)
    assert endpoints_due(database, LATER + 86_399) == [] and next_delivery(database, hook.id, LATER + 86_399) is None
    assert endpoints_due(database, LATER + 86_400) == [hook.id]
    assert endpoints_due(database, LATER - 59) == []  # as far as clocks are set in passing
    assert endpoints_due(database, LATER - 3600) == [hook.id] and next_delivery(database, hook.id, LATER - 3600)


def test_the_oldest_wait_is_first(database: Database) -> None:
    hook = endpoint(database)
    jobs = [cancelled(database) for _ in range(3)]
    first = next_delivery(database, hook.id, LATER)
    assert first is not None and first.job == jobs[0]
    postpone(database, first, "down", LATER, 5)
    second = next_delivery(database, hook.id, LATER + 10)
    assert second is not None and second.job == jobs[1]


def test_lists_go_on_after_an_endpoint(database: Database) -> None:
    names = [endpoint(database).id for _ in range(5)]
    first, more = list_endpoints(database, 2)
    assert [one.id for one in first] == names[:2:-1] and more
    rest, more = list_endpoints(database, 3, after=first[-1].id)
    assert [one.id for one in rest] == names[2::-1] and not more


def test_endpoints_have_a_limit(database: Database) -> None:
    for _ in range(MOST_ENDPOINTS):
        endpoint(database)
    with pytest.raises(WebhookLimitError, match="16 webhook endpoints"):
        endpoint(database)


def test_changes_are_dated_and_equal_ones_are_none(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = endpoint(database)
    monkeypatch.setattr(webhook_table.time, "time", lambda: hook.created_at + 100.5)
    same = update_endpoint(database, hook.id, name="ci", url=hook.url, event_types=[CANCELLED])
    assert same == hook
    changed = update_endpoint(database, hook.id, name="cd", event_types=[*ENDS.values()])
    assert changed.name == "cd" and changed.event_types == tuple(ENDS.values()) and changed.url == hook.url
    assert changed.updated_at == hook.created_at + 100 and changed.created_at == hook.created_at
    assert rotate_secret(database, hook.id, "whsec_dHdv", False).secret_end == "dHdv"


def test_a_rotated_secret_signs_for_a_day_where_that_is_asked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, now = endpoint(database, secret="whsec_b25l"), 2_000_000_000
    monkeypatch.setattr(webhook_table.time, "time", lambda: now)
    rotate_secret(database, hook.id, "whsec_dHdv", overlap=True)
    assert signing_secrets(database, hook.id, now) == ["whsec_dHdv", "whsec_b25l"]
    assert signing_secrets(database, hook.id, now + 86_399) == ["whsec_dHdv", "whsec_b25l"]
    assert signing_secrets(database, hook.id, now + 86_400) == ["whsec_dHdv"]
    assert signing_secrets(database, hook.id, now - 3600) == ["whsec_dHdv"]  # the clock was set back
    monkeypatch.setattr(webhook_table.time, "time", lambda: now + 80_000)
    rotate_secret(database, hook.id, "whsec_dHJl", overlap=True)
    assert signing_secrets(database, hook.id, now + 80_000) == ["whsec_dHJl", "whsec_dHdv", "whsec_b25l"]
    assert signing_secrets(database, hook.id, now + 90_000) == ["whsec_dHJl", "whsec_dHdv"]
    rotate_secret(database, hook.id, "whsec_Zm91", overlap=False)
    assert signing_secrets(database, hook.id, now + 80_000) == ["whsec_Zm91"]


def test_secrets_that_sign_at_a_time_have_a_limit(database: Database) -> None:
    hook = endpoint(database)
    for number in range(1, MOST_SECRETS):
        rotate_secret(database, hook.id, f"whsec_{number:04}", overlap=True)
    before = signing_secrets(database, hook.id, 0)
    with pytest.raises(WebhookLimitError, match="8 secrets"):
        rotate_secret(database, hook.id, "whsec_last", overlap=True)
    assert signing_secrets(database, hook.id, 0) == before and before[0] == f"whsec_{MOST_SECRETS - 1:04}"
    assert rotate_secret(database, hook.id, "whsec_last", overlap=False).secret_end == "last"


def test_no_secret_is_among_what_is_shown(database: Database) -> None:
    hook = endpoint(database, secret="whsec_c2VjcmV0c2VjcmV0")
    job = cancelled(database)
    delivery = next_delivery(database, hook.id, LATER)
    shown = repr((hook, list_endpoints(database, 5), delivery, list_events(database, job, 5)))
    assert "c2VjcmV0c2VjcmV0" not in shown and hook.secret_end == "cmV0"
