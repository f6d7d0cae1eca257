"""`eyegraft serve`: models behind OpenAI's interface, on this machine unless asked otherwise."""

from pathlib import Path

from demo.server.api import build_api
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import LOOPBACK
from demo.server.limits import DEFAULT, SHORTEST_TOKEN, public_limits
from demo.server.sockets import ended_by_signal, listen
from llm import console
from llm.chat.chat_model import ChatModel
from llm.errors import ConfigError
from vlm.model.open_chat_model import open_chat_model


def serve(runs: list[str], checkpoint: str, host: str, port: int, public: bool, token: str, name: str) -> None:
    """Open the models and answer until stopped. ConfigError for an address that strangers could reach unasked."""
    hosts = allowed_hosts(host, public, token, name)
    limits = public_limits() if public else DEFAULT
    queue = GenerationQueue(open_models(runs, checkpoint), limits.waiting, limits.share_waiting)
    app = build_api(queue, hosts, token, limits)
    console.out(f"http://{host}:{port}/v1")
    with ended_by_signal():
        listen(app, host, port, limits, queue.close)


def open_models(runs: list[str], checkpoint: str) -> dict[str, ChatModel]:
    """The models of run folders and exported folders, by name."""
    return {name: open_chat_model(path, checkpoint) for name, path in model_folders(runs).items()}


def model_folders(runs: list[str]) -> dict[str, Path]:
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


def allowed_hosts(host: str, public: bool, token: str, name: str) -> frozenset[str]:
    """The names that requests may be addressed to. ConfigError for a token that is guessed, or an open address."""
    if token and len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"--token: {len(token)} characters, at least {SHORTEST_TOKEN} keep others out. "
            "Make one: python -c 'import secrets; print(secrets.token_urlsafe(24))'"
        )
    if host not in LOOPBACK and not (public and token):
        raise ConfigError(
            f"--host {host}: others could reach this. If they should, add --public and --token (a secret of your own)"
        )
    return (LOOPBACK | {host.lower(), name.lower()}) - {""}
