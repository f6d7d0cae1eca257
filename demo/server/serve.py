"""`eyegraft serve`: OpenAI's chat API over run folders and exported models."""

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
    """Load the models and serve until stopped. Raises ConfigError for an address open to others without `public`."""
    hosts = allowed_hosts(host, public, token, name)
    limits = public_limits() if public else DEFAULT
    queue = GenerationQueue(open_models(runs, checkpoint), limits.waiting, limits.share_waiting)
    app = build_api(queue, hosts, token, limits)
    console.out(f"http://{host}:{port}/v1")
    with ended_by_signal():
        listen(app, host, port, limits, queue.close)


def open_models(runs: list[str], checkpoint: str) -> dict[str, ChatModel]:
    """Load the models of run folders and exported folders, by name."""
    return {name: open_chat_model(path, checkpoint) for name, path in model_folders(runs).items()}


def model_folders(runs: list[str]) -> dict[str, Path]:
    """Folders by model name, from `NAME=FOLDER` or a folder's own name. Raises ConfigError for a name used twice."""
    named: dict[str, Path] = {}
    for run in runs:
        name, given, folder = run.partition("=")
        path = Path(folder if given else run)
        name = name if given else path.resolve().name
        if name in named:
            raise ConfigError(f"two models are named {name}. Give one another name: another-name={path}")
        named[name] = path
    return named


def allowed_hosts(host: str, public: bool, token: str, name: str) -> frozenset[str]:
    """The Host names to accept. Raises ConfigError for a short token, or for an address open to others without one."""
    if token and len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"--token: {len(token)} characters, at least {SHORTEST_TOKEN} are needed so that it cannot be guessed. "
            "Generate one: python -c 'import secrets; print(secrets.token_urlsafe(24))'"
        )
    if host not in LOOPBACK and not (public and token):
        raise ConfigError(
            f"--host {host}: other machines can reach this address. To allow them, add --public and --token SECRET"
        )
    return (LOOPBACK | {host.lower(), name.lower()}) - {""}
