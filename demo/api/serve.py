"""`eyegraft serve`: OpenAI's chat API over run folders and exported models."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from demo.api.app import build_api
from demo.api.vllm_advice import Served, vllm_advice
from demo.model_library import ModelWeights
from demo.open_models import OpenModels
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import LOOPBACK, USUAL_PORTS
from demo.server.limits import SHORTEST_TOKEN, Limits
from demo.server.sockets import ended_by_signal, listen
from llm import console
from llm.errors import ConfigError
from llm.hubs.reference import model_reference
from llm.model.model_folder import named_folder

if TYPE_CHECKING:
    from llm.chat.chat_model import ChatModel


def serve(
    runs: list[str],
    checkpoint: str,
    host: str,
    port: int,
    public: bool,
    token: str,
    name: str,
    limits: Limits,
    origins: list[str],
    adapter: str = "",
    bits: int = 0,
) -> None:
    """Load the models and serve until stopped, within `limits`.

    Raises ConfigError for an address open to others without `public`, and for an origin that is not one.
    """
    hosts, sites = allowed_hosts(host, public, token, name), allowed_origins(origins)
    opened = OpenModels(limits.together, limits.new_tokens, limits.model_memory)
    models = open_models(runs, checkpoint, adapter, bits, opened)
    queue = GenerationQueue(models, limits.waiting, limits.share_waiting, together=limits.together)
    queue.metrics.add_models(opened.sizes)
    app = build_api(queue, hosts, token, limits, sites)
    for line in vllm_advice(model_folders(runs), _served(host, port, token, limits, adapter, bits)):
        console.out(line)
    console.raw(f"http://{host}:{port}/v1")
    with ended_by_signal():
        listen(app, host, port, limits, queue.close)


def _served(host: str, port: int, token: str, limits: Limits, adapter: str, bits: int) -> Served:
    from llm.model.precision import this_machine  # imports torch, as the models have

    machine = this_machine()
    return Served(machine.card, machine.auto_dtype, host, port, bool(token), bits, adapter, limits.images)


def open_models(
    runs: list[str], checkpoint: str, adapter: str = "", bits: int = 0, opened: OpenModels | None = None
) -> dict[str, "ChatModel"]:
    """Load the models of run folders, exported folders and adapters, by name, with `bits` 4 or 8 quantised.

    They stay in memory, equal weights of theirs once. `adapter` is for a single model folder: ConfigError beside
    several. Raises NoRoomError where memory has no room.
    """
    named = model_folders(runs)
    if adapter and len(named) > 1:
        raise ConfigError(
            f"--adapter: for one model, found {len(named)}. Name the folders of adapters, which know their base"
        )
    opened = opened or OpenModels()
    weights = {name: ModelWeights(path, checkpoint, adapter=adapter, bits=bits) for name, path in named.items()}
    return {name: opened.open_now(one) for name, one in weights.items()}


def model_folders(runs: list[str]) -> dict[str, Path]:
    """Folders by model name, from `NAME=FOLDER` or a folder's own name. Raises ConfigError for a name used twice."""
    named: dict[str, Path] = {}
    for run in runs:
        name, given, folder = run.partition("=")
        path = named_folder(folder if given else run)
        name = name if given else _own_name(run, path)
        if name in named:
            raise ConfigError(f"two models are named {name}. Give one another name: another-name={path}")
        named[name] = path
    return named


def _own_name(run: str, path: Path) -> str:
    """A folder's own name; of a model of a hub its name there, not that of the folder of a commit."""
    reference = None if Path(run).expanduser() == path else model_reference(run)
    return path.resolve().name if reference is None else reference.repository.partition("/")[2]


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


def allowed_origins(given: list[str]) -> frozenset[str]:
    """The origins as browsers send them. Raises ConfigError for anything but scheme://host[:port]."""
    return frozenset(map(_origin, given))


def _origin(address: str) -> str:
    """The origin in lower case without the scheme's usual port."""
    advice = (
        "Give scheme, host and port as the browser shows them, such as https://chat.example or http://localhost:3000"
    )
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"--origin {address}: {error}. {advice}") from error
    if parts.scheme not in USUAL_PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise ConfigError(f"--origin {address}: not the address of a site. {advice}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, USUAL_PORTS[parts.scheme]) else "")
