"""Endpoints of webhooks in the database, and the secrets that sign what is sent to them."""

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from typing import TypedDict, Unpack

from llm.errors import ServiceError
from vlm.service.store.database import Database
from vlm.service.store.delivery_table import SLACK_S
from vlm.service.store.rows import WebhookEndpoint

MOST_ENDPOINTS = 16
MOST_SECRETS = 8  # of one endpoint that sign at a time: each is a part of a header
OVERLAP_S = 24 * 3600  # for which a secret that was rotated signs beside the new one


class UnknownEndpointError(ServiceError):
    """There is no endpoint of that id."""


class WebhookLimitError(ServiceError):
    """More endpoints, or secrets of one, than the service takes."""


class EndpointChanges(TypedDict, total=False):
    """What a user may change of an endpoint."""

    name: str
    url: str
    event_types: Sequence[str]


def add_endpoint(database: Database, name: str, url: str, event_types: Sequence[str], secret: str) -> WebhookEndpoint:
    """Add an endpoint. Raises WebhookLimitError when there are MOST_ENDPOINTS."""
    identity, now = f"we_{secrets.token_hex(12)}", int(time.time())
    with database.transaction() as connection:
        if connection.execute("SELECT count(*) FROM webhook_endpoints").fetchone()[0] >= MOST_ENDPOINTS:
            raise WebhookLimitError(f"there are {MOST_ENDPOINTS} webhook endpoints already. Delete one first")
        connection.execute(
            "INSERT INTO webhook_endpoints(id, name, url, event_types, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (identity, name, url, json.dumps([*event_types]), now, now),
        )
        connection.execute("INSERT INTO webhook_secrets(endpoint, secret) VALUES (?, ?)", (identity, secret))
    return find_endpoint(database, identity)


def find_endpoint(database: Database, identity: str) -> WebhookEndpoint:
    """The endpoint of that id. Raises UnknownEndpointError."""
    found = _rows(database, "id = ?", identity, 1)
    if not found:
        raise _unknown(identity)
    return found[0]


def list_endpoints(database: Database, limit: int, after: str | None = None) -> tuple[list[WebhookEndpoint], bool]:
    """Endpoints newest first, those that follow the endpoint `after`; and whether there are more."""
    condition = "? IS NULL" if after is None else "sequence < (SELECT sequence FROM webhook_endpoints WHERE id = ?)"
    found = _rows(database, condition, after, limit + 1)
    return found[:limit], len(found) > limit


def update_endpoint(database: Database, identity: str, **changes: Unpack[EndpointChanges]) -> WebhookEndpoint:
    """Change an endpoint; values that it has already change nothing. Raises UnknownEndpointError.

    One that was switched off is on again when its address is given, the same one too.
    """
    given = {key: json.dumps(value) if key == "event_types" else value for key, value in changes.items()}
    with database.transaction() as connection:
        row = connection.execute("SELECT * FROM webhook_endpoints WHERE id = ?", (identity,)).fetchone()
        if row is None:
            raise _unknown(identity)
        columns: dict[str, object] = {key: value for key, value in given.items() if row[key] != value}
        if "url" in given and row["gone_at"] is not None:
            columns["gone_at"] = None
        if columns:
            columns["updated_at"] = int(time.time())
            marks = ", ".join(f"{column} = ?" for column in columns)
            connection.execute(f"UPDATE webhook_endpoints SET {marks} WHERE id = ?", (*columns.values(), identity))
    return find_endpoint(database, identity)


def remove_endpoint(database: Database, identity: str) -> None:
    """Delete an endpoint with its secrets and deliveries, also those that wait. Raises UnknownEndpointError."""
    with database.transaction() as connection:
        if not connection.execute("DELETE FROM webhook_endpoints WHERE id = ?", (identity,)).rowcount:
            raise _unknown(identity)


def rotate_secret(database: Database, identity: str, secret: str, overlap: bool) -> WebhookEndpoint:
    """Let a new secret sign. With `overlap` the one before signs beside it for OVERLAP_S, as do others that still may.

    Without it no older one signs any more. Raises UnknownEndpointError, and WebhookLimitError for too many at a time.
    """
    now = int(time.time())
    with database.transaction() as connection:
        if not connection.execute("UPDATE webhook_endpoints SET updated_at = ? WHERE id = ?", (now, identity)).rowcount:
            raise _unknown(identity)
        if overlap:
            _retire(connection, identity, now)
        else:
            connection.execute("DELETE FROM webhook_secrets WHERE endpoint = ?", (identity,))
        connection.execute("INSERT INTO webhook_secrets(endpoint, secret) VALUES (?, ?)", (identity, secret))
    return find_endpoint(database, identity)


def signing_secrets(database: Database, identity: str, now: float) -> list[str]:
    """The secrets that sign at a time, the newest first. Raises UnknownEndpointError."""
    with database.transaction() as connection:
        found = _signing(connection, identity, now)
    if not found:
        raise _unknown(identity)
    return found


def _retire(connection: sqlite3.Connection, identity: str, now: int) -> None:
    connection.execute("DELETE FROM webhook_secrets WHERE endpoint = ? AND expires_at <= ?", (identity, now))
    connection.execute(
        "UPDATE webhook_secrets SET retired_at = ?, expires_at = ? WHERE endpoint = ? AND retired_at IS NULL",
        (now, now + OVERLAP_S, identity),
    )
    if len(_signing(connection, identity, now)) >= MOST_SECRETS:
        raise WebhookLimitError(
            f"{identity} has {MOST_SECRETS} secrets that sign. Rotate when the oldest has expired, or without "
            "keep_old_secret_active_for_24_hours"
        )


def _signing(connection: sqlite3.Connection, identity: str, now: float) -> list[str]:
    """A secret that was retired in the future has expired: a clock that was set back must not keep it."""
    rows = connection.execute(
        "SELECT secret FROM webhook_secrets WHERE endpoint = ? AND (retired_at IS NULL OR "
        "(retired_at <= ? AND expires_at > ?)) ORDER BY sequence DESC",
        (identity, now + SLACK_S, now),
    )
    return [row["secret"] for row in rows]


def _rows(database: Database, condition: str, value: str | None, limit: int) -> list[WebhookEndpoint]:
    """The newest endpoints that a condition on one value holds for."""
    rows = database.rows(
        "SELECT *, (SELECT substr(secret, -4) FROM webhook_secrets WHERE endpoint = webhook_endpoints.id "
        "AND retired_at IS NULL) AS secret_end FROM webhook_endpoints "
        f"WHERE {condition} ORDER BY sequence DESC LIMIT ?",
        (value, limit),
    )
    return [_endpoint(row) for row in rows]


def _unknown(identity: str) -> UnknownEndpointError:
    return UnknownEndpointError(f"there is no webhook endpoint {identity[:80]!r}")


def _endpoint(row: sqlite3.Row) -> WebhookEndpoint:
    values = {name: row[name] for name in WebhookEndpoint.__slots__}
    return WebhookEndpoint(**{**values, "event_types": tuple(json.loads(values["event_types"]))})
