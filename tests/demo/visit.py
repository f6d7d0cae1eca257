"""A client of the page's server without a browser."""

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx

IDLE = {"multimodaltextbox": {"text": "", "files": []}, "chatbot": [], "browserstate": []}


@dataclass(frozen=True)
class Visit:
    """A visitor's own program: gradio's configuration and requests."""

    url: str
    config: dict[str, Any]
    client: httpx.Client  # shared: creating an SSL context takes longer than these requests

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events with a function on the server."""
        return [event for event in self.config["dependencies"] if event["backend_fn"]]

    def event(self, part: str, name: str) -> dict[str, Any]:
        """The event `name` of the component with the elem_id `part`."""
        number = next(one["id"] for one in self.config["components"] if one["props"].get("elem_id") == part)
        return next(event for event in self.events if [number, name] in [list(target) for target in event["targets"]])

    def join(self, session: str, event: dict[str, Any], data: list[Any]) -> str:
        """Queue an event; returns its id."""
        body = {"data": data, "event_data": None, "fn_index": event["id"], "session_hash": session}
        joined = self.client.post(f"{self.url}/gradio_api/queue/join", json=body)
        assert joined.status_code == 200, joined.text
        return str(joined.json()["event_id"])

    def idle(self, event: dict[str, Any]) -> list[Any]:
        """The initial values of an event's inputs."""
        parts = {part["id"]: part for part in self.config["components"]}
        return [
            IDLE.get(parts[number]["type"], parts[number]["props"].get("value")) if number in parts else None
            for number in event["inputs"]
        ]

    def fire(self, session: str, event: dict[str, Any], data: list[Any], said: Any = None) -> str:
        """Send an event and return everything that the server answers."""
        body = {"data": data, "event_data": said, "fn_index": event["id"], "session_hash": session}
        if not event["queue"]:
            return self.client.post(f"{self.url}/gradio_api/run/predict", json=body).text
        joined = self.client.post(f"{self.url}/gradio_api/queue/join", json=body)
        return joined.text if joined.status_code != 200 else joined.text + self._answers(session)

    def _answers(self, session: str) -> str:
        said = ""
        address = f"{self.url}/gradio_api/queue/data"
        with self.client.stream("GET", address, params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                said += line + "\n"
                if any(end in line for end in ("process_completed", "close_stream", "unexpected_error")):
                    break
        return said

    def completed(self, session: str) -> set[str]:
        """The ids of all events whose results come before the end of the stream."""
        address, found = f"{self.url}/gradio_api/queue/data", set()
        with self.client.stream("GET", address, params={"session_hash": session}) as stream:
            for line in filter(None, stream.iter_lines()):
                message = json.loads(line.removeprefix("data: "))
                if message["msg"] == "close_stream":
                    break
                if message["msg"] == "process_completed" and message["success"]:
                    found.add(message["event_id"])
        return found

    def fetched(self, answers: str) -> str:
        """The contents of all files that are linked in the answers."""
        names = {name.rstrip("\\") for name in re.findall(r'file=([^"\s]+)', answers)}
        return "".join(self.client.get(f"{self.url}/gradio_api/file={name}").text for name in names)
