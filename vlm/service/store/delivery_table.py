"""Deliveries to webhooks: written with the change of the job that they report, then tried until one arrives."""

import json
import secrets
import sqlite3
from dataclasses import dataclass

from vlm.service.store.database import Database
from vlm.service.store.event_table import add_event
from vlm.service.store.rows import Delivery
from vlm.service.store.states import State

EVENT_TYPES = {
    State.SUCCEEDED: "fine_tuning.job.succeeded",
    State.FAILED: "fine_tuning.job.failed",
    State.CANCELLED: "fine_tuning.job.cancelled",
}
"""The events that are sent, as OpenAI names them."""
SLACK_S = 60  # by which clocks are set without anything else having gone wrong


@dataclass(frozen=True, slots=True)
class NewestDelivery:
    """What an endpoint was last to be informed of; `state`: waiting, delivered or given_up."""

    event_type: str
    job: str
    state: str


def event_body(event_type: str, job: str, now: int) -> str:
    """The body of a new event, in OpenAI's form."""
    event = {"id": f"evt_{secrets.token_hex(16)}", "object": "event", "created_at": now, "type": event_type}
    return json.dumps({**event, "data": {"id": job}}, separators=(",", ":"))


def add_deliveries(connection: sqlite3.Connection, job: str, target: State, now: int) -> None:
    """Add a delivery to every endpoint that wants the event of a job that ended, as a part of a transaction.

    To one that is switched off it is given up at once, and can be sent again later.
    """
    event_type = EVENT_TYPES[target]
    connection.execute(
        "INSERT INTO webhook_deliveries(id, endpoint, job, event_type, body, waits_since, next_try_at, state) "
        "SELECT 'wh_' || lower(hex(randomblob(16))), id, ?, ?, ?, ?, ?, "
        "CASE WHEN gone_at IS NULL THEN 'waiting' ELSE 'given_up' END FROM webhook_endpoints "
        "WHERE EXISTS (SELECT 1 FROM json_each(event_types) WHERE value = ?)",
        (job, event_type, event_body(event_type, job, now), now, now, event_type),
    )


def forget_deliveries(connection: sqlite3.Connection, job: str) -> None:
    """Delete what is settled of a removed job's deliveries, as a part of a transaction; the others are still sent."""
    connection.execute("DELETE FROM webhook_deliveries WHERE job = ? AND state != 'waiting'", (job,))


# A wait that began in the future is over: the clock was set back, and would hold the delivery for as long.
_DUE = "state = 'waiting' AND (next_try_at <= ? OR waits_since > ?)"


def _due(now: float) -> tuple[int, int]:
    return int(now), int(now) + SLACK_S


def endpoints_due(database: Database, now: float) -> list[str]:
    """The endpoints for which there is something to deliver."""
    rows = database.rows(
        "SELECT id FROM webhook_endpoints WHERE EXISTS (SELECT 1 FROM webhook_deliveries "
        f"WHERE endpoint = webhook_endpoints.id AND {_DUE})",
        _due(now),
    )
    return [row["id"] for row in rows]


def next_delivery(database: Database, endpoint: str, now: float) -> Delivery | None:
    """The delivery to an endpoint that has been due for longest."""
    rows = database.rows(
        "SELECT webhook_deliveries.*, name AS endpoint_name, url FROM webhook_deliveries "
        f"JOIN webhook_endpoints ON webhook_endpoints.id = endpoint WHERE endpoint = ? AND {_DUE} "
        "ORDER BY next_try_at, webhook_deliveries.sequence LIMIT 1",
        (endpoint, *_due(now)),
    )
    return _delivery(rows[0]) if rows else None


def settle_delivered(database: Database, delivery: Delivery) -> None:
    """Store that a delivery has arrived."""
    with database.transaction() as connection:
        _settle(connection, delivery, "delivered", None)


def postpone(database: Database, delivery: Delivery, error: str, now: float, wait: float) -> None:
    """Store that a try has failed, and that the next one is due `wait` seconds after `now`."""
    with database.transaction() as connection:
        _settle(connection, delivery, "waiting", error)
        connection.execute(
            "UPDATE webhook_deliveries SET waits_since = ?, next_try_at = ? WHERE id = ?",
            (int(now), int(now + wait), delivery.id),
        )


def give_up(database: Database, delivery: Delivery, error: str) -> None:
    """Store that the last try has failed, as an event of the job if it is still there."""
    what = f"Webhook {delivery.endpoint}: {delivery.event_type} was given up at try {delivery.tries + 1}: {error}"
    data = {"webhook_id": delivery.id, "endpoint_name": delivery.endpoint_name}
    with database.transaction() as connection:
        _settle(connection, delivery, "given_up", error)
        if connection.execute("SELECT 1 FROM jobs WHERE id = ?", (delivery.job,)).fetchone():
            add_event(connection, delivery.job, what, "warn", data=data)


def switch_off(database: Database, delivery: Delivery, error: str, now: float) -> None:
    """Give up a delivery and all others that wait for its endpoint, which gets nothing more until it is switched on.

    It is an event of each of their jobs that is still there.
    """
    what = f"Webhook {delivery.endpoint}: was switched off: {error}. Deliveries to it are given up until it is on again"
    with database.transaction() as connection:
        _settle(connection, delivery, "given_up", error)
        waiting = "SELECT job FROM webhook_deliveries WHERE endpoint = ? AND (state = 'waiting' OR id = ?)"
        rows = connection.execute(
            f"SELECT id FROM jobs WHERE id IN ({waiting})", (delivery.endpoint, delivery.id)
        ).fetchall()
        for row in rows:
            add_event(connection, row["id"], what, "warn", data={"endpoint_name": delivery.endpoint_name})
        connection.execute("UPDATE webhook_endpoints SET gone_at = ? WHERE id = ?", (int(now), delivery.endpoint))
        connection.execute(
            "UPDATE webhook_deliveries SET state = 'given_up' WHERE endpoint = ? AND state = 'waiting'",
            (delivery.endpoint,),
        )


def send_again(database: Database, endpoint: str, job: str | None, now: float) -> int:
    """Let deliveries to an endpoint that were given up, or those of one job, begin again; returns how many.

    An endpoint that was switched off is on again, whether there were any or not.
    """
    with database.transaction() as connection:
        connection.execute("UPDATE webhook_endpoints SET gone_at = NULL WHERE id = ?", (endpoint,))
        return connection.execute(
            "UPDATE webhook_deliveries SET state = 'waiting', tries = 0, waits_since = ?, next_try_at = ? "
            "WHERE endpoint = ? AND state = 'given_up' AND (? IS NULL OR job = ?)",
            (int(now), int(now), endpoint, job, job),
        ).rowcount


def count_deliveries(database: Database, endpoint: str) -> dict[str, int]:
    """How many deliveries to an endpoint are `waiting`, `delivered` and `given_up`."""
    rows = database.rows(
        "SELECT state, count(*) AS number FROM webhook_deliveries WHERE endpoint = ? GROUP BY state", (endpoint,)
    )
    return {"waiting": 0, "delivered": 0, "given_up": 0} | {row["state"]: row["number"] for row in rows}


def newest_delivery(database: Database, endpoint: str) -> NewestDelivery | None:
    """The newest event for an endpoint; None before the first."""
    rows = database.rows(
        "SELECT event_type, job, state FROM webhook_deliveries WHERE endpoint = ? ORDER BY sequence DESC LIMIT 1",
        (endpoint,),
    )
    return NewestDelivery(**dict(rows[0])) if rows else None


def _settle(connection: sqlite3.Connection, delivery: Delivery, state: str, error: str | None) -> None:
    connection.execute("UPDATE webhook_deliveries SET state = ?, tries = tries + 1 WHERE id = ?", (state, delivery.id))
    connection.execute("UPDATE webhook_endpoints SET last_error = ? WHERE id = ?", (error, delivery.endpoint))


def _delivery(row: sqlite3.Row) -> Delivery:
    return Delivery(**{name: row[name] for name in Delivery.__slots__})
