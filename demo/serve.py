"""`eyegraft serve`: models behind OpenAI's interface, on this machine unless asked otherwise."""

from pathlib import Path

import uvicorn
from fastapi import FastAPI

from demo.api import build_api
from demo.desk import Desk
from demo.guard import LOOPBACK
from demo.limits import DEFAULT
from llm.errors import ConfigError
from vlm.chat import open_speaker

CONNECTIONS = 64  # each may hold one body in memory while it is read


def serve(runs: list[str], checkpoint: str, host: str, port: int, public: bool, token: str, name: str) -> None:
    """Open the models and answer until stopped. ConfigError for an address that strangers could reach unasked."""
    hosts = hosts_of(host, public, token, name)
    app = open_api(runs, checkpoint, hosts, token)
    print(f"http://{host}:{port}/v1", flush=True)
    listen(app, host, port)


def listen(app: FastAPI, host: str, port: int) -> None:
    """Answer until stopped."""
    uvicorn.run(app, host=host, port=port, log_level="warning", limit_concurrency=CONNECTIONS, server_header=False)


def open_api(runs: list[str], checkpoint: str, hosts: frozenset[str], token: str) -> FastAPI:
    """The application over run folders and exported folders."""
    named = names_of(runs)
    speakers = {name: open_speaker(path, checkpoint) for name, path in named.items()}
    return build_api(Desk(speakers, DEFAULT.waiting), hosts, token)


def names_of(runs: list[str]) -> dict[str, Path]:
    """Name by folder: `NAME=FOLDER`, or the folder's own name. ConfigError when two are called alike."""
    named: dict[str, Path] = {}
    for run in runs:
        name, given, folder = run.partition("=")
        path = Path(folder if given else run)
        name = name if given else path.resolve().name
        if name in named:
            raise ConfigError(f"two models are called {name}: write one as another-name={path}")
        named[name] = path
    return named


def hosts_of(host: str, public: bool, token: str, name: str) -> frozenset[str]:
    """The names that requests may be addressed to."""
    if host not in LOOPBACK and not (public and token):
        raise ConfigError(
            f"--host {host}: others could reach this. If they should, add --public and --token (a secret of your own)"
        )
    return (LOOPBACK | {host, name}) - {""}
