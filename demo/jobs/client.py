"""The service's HTTP API for `eyegraft jobs`: where it is, its secret, and its answers."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from llm.errors import ConfigError, ServiceError
from llm.files.atomic_files import atomic_file
from llm.files.regular_files import SETTINGS, read_text

TIMEOUT_S = 60.0
ADDRESS = "address"  # file in the service's folder: its URL
JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """A service's URL and secret."""

    url: str
    token: str


def find_service(root: Path, url: str, token: str) -> ServiceAddress:
    """The service by `url` and `token` or, without them, the one of a folder.

    Raises ConfigError when neither says where it is.
    """
    if url:
        return ServiceAddress(url.rstrip("/"), token)
    try:
        found = read_text(root / ADDRESS, SETTINGS).strip()
        return ServiceAddress(found, token or read_text(root / "token", SETTINGS).strip())
    except OSError as error:
        raise ConfigError(
            f"no service is known in {root} ({error.strerror}). Start one with `eyegraft service`, or give --root or "
            "--url"
        ) from error


class ServiceClient:
    """Requests to the service. All methods raise ServiceError with the service's own words for what it refuses."""

    def __init__(self, address: ServiceAddress) -> None:
        self._http = httpx2.Client(
            base_url=address.url, headers={"Authorization": f"Bearer {address.token}"}, timeout=TIMEOUT_S
        )
        self._url = address.url

    def get(self, path: str, **query: str | int | None) -> JsonObject:
        """The object at an address."""
        return self._send(
            self._http.build_request(
                "GET", path, params={key: value for key, value in query.items() if value is not None}
            )
        )

    def post(self, path: str, body: Mapping[str, object] | None = None, key: str = "") -> JsonObject:
        """The answer to a JSON body; `key`: the Idempotency-Key."""
        headers = {"Idempotency-Key": key} if key else {}
        return self._send(self._http.build_request("POST", path, json=dict(body or {}), headers=headers))

    def delete(self, path: str) -> JsonObject:
        """The answer to a deletion."""
        return self._send(self._http.build_request("DELETE", path))

    def upload(self, file: Path, purpose: str) -> str:
        """Upload a file and return its id."""
        try:
            with file.open("rb") as stream:
                parts = {"file": (file.name, stream)}
                request = self._http.build_request(
                    "POST", "/v1/files", data={"purpose": purpose}, files=parts, timeout=None
                )
                found = self._send(request)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}. Correct the path") from error
        return str(found["id"])

    def download(self, path: str, file: Path) -> None:
        """Write what is at an address into a file, which is complete or not there."""
        try:
            with self._http.stream("GET", path, timeout=None) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise _refusal(answer)
                with atomic_file(file) as partial, partial.open("wb") as output:
                    for chunk in answer.iter_bytes():
                        output.write(chunk)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written: {error.strerror}. Choose another place") from error

    def events(self, path: str) -> Iterator[JsonObject]:
        """The events of the job or run at an address from the first on, until it has ended.

        A lost connection is taken up again.
        """
        last = ""
        while True:
            headers = {"Last-Event-ID": last} if last else {}
            try:
                with self._http.stream("GET", f"{path}/events", params={"stream": "true"}, headers=headers) as answer:
                    if answer.status_code != 200:
                        answer.read()
                        raise _refusal(answer)
                    for line in answer.iter_lines():
                        if line == "data: [DONE]":
                            return
                        if line.startswith("data: "):
                            event = json.loads(line[6:])
                            last = event["id"]
                            yield event
            except httpx2.ReadError:
                continue
            except httpx2.TransportError as error:
                raise self._unreachable(error) from error

    def _send(self, request: httpx2.Request) -> JsonObject:
        try:
            answer = self._http.send(request)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if answer.status_code >= 400:
            raise _refusal(answer)
        found = answer.json()
        assert isinstance(found, dict)
        return found

    def _unreachable(self, error: Exception) -> ServiceError:
        return ServiceError(f"{self._url}: the service does not answer ({error}). Is `eyegraft service` running?")


def _refusal(answer: httpx2.Response) -> ServiceError:
    """The message of an error in OpenAI's format, or the status alone."""
    try:
        return ServiceError(str(answer.json()["error"]["message"]))
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"the server answered with status {answer.status_code}. Is it the service's address?")
