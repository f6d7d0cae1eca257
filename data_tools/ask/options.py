"""The command's options as they are typed, each judged before anything is sent."""

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from data_tools.ask.journal import journal_path
from llm.errors import ConfigError
from llm.files.regular_files import RECIPE, read_text

OPENAI = "https://api.openai.com/v1"
OURS = ("model", "messages", "stream", "stream_options", "n")  # parts of a request that are not the user's to set
OUTPUTS = (".jsonl", ".json")


@dataclass(frozen=True, slots=True)
class AskOptions:
    """What `eyegraft data ask` was told besides QUESTIONS and OUT; 0 and "" mean not given."""

    model: str
    base_url: str = OPENAI
    key_env: str = "OPENAI_API_KEY"
    system: str = ""  # a file
    keep_system: bool = False
    field: str = ""
    instruction: str = ""  # a file or text
    turns: int = 0
    question: str = ""
    set: tuple[str, ...] = ()
    max_side: int = 1024
    workers: int = 4
    per_minute: float = 0.0
    limit: int = 0
    retries: int = 5
    timeout: float = 120.0


def check_fit(options: AskOptions, pictures: bool) -> None:
    """ConfigError for an option that does nothing for this kind of questions."""
    faults = {
        "--instruction": bool(options.instruction) and not pictures,
        "--turns": bool(options.turns) and not pictures,
        "--question": bool(options.question) and (not pictures or bool(options.turns)),
        "--field": bool(options.field) and pictures,
        "--keep-system": options.keep_system and (pictures or not options.system),
    }
    meant = {
        "--instruction": "is for a folder of pictures",
        "--turns": "is for a folder of pictures",
        "--question": "is for captions: the question stored in place of the instruction",
        "--field": "is for rows of questions",
        "--keep-system": "stores the text of --system with answers to text",
    }
    for name, fault in faults.items():
        if fault:
            raise ConfigError(f"{name}: {meant[name]}. Leave it out")


def check_out(out: Path, source: Path) -> Path:
    """The file to write. ConfigError for an unknown kind, for the questions, and for a file not made of answers."""
    if out.exists() and out.samefile(source):
        raise ConfigError(f"{out}: are the questions. Choose another OUT")
    if out.suffix.lower() not in OUTPUTS:
        raise ConfigError(f"{out}: answers are written as {' or '.join(OUTPUTS)}. Give OUT one of these endings")
    if out.exists() and not journal_path(out).exists():
        raise ConfigError(f"{out}: is there and was not made by `data ask`. Choose another OUT")
    return out


def check_url(url: str) -> str:
    """The server's address. ConfigError when it is none or holds a password."""
    try:
        parts = urlsplit(url)
        found = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        found = False
    if not found:
        raise ConfigError(f"--base-url {url}: not an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise ConfigError("--base-url: holds a password or a query. Keys come from the environment: see --key-env")
    return url


def is_clear(url: str) -> bool:
    """Whether a key sent there could be read on the way: no TLS, and not this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True


def read_settings(pairs: Iterable[str]) -> dict[str, object]:
    """`temperature=0.7` and the like: JSON where it is JSON, else text. ConfigError for what cannot be sent."""
    settings: dict[str, object] = {}
    for pair in pairs:
        name, given, value = pair.partition("=")
        if not given or not name:
            raise ConfigError(f"--set {pair}: write it as NAME=VALUE, such as temperature=0.7")
        if name in OURS:
            raise ConfigError(f"--set {name}: `data ask` sets this itself. Leave it out")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    try:
        json.dumps(settings, allow_nan=False)
    except ValueError:
        raise ConfigError("--set: JSON knows no NaN and no infinity. Give a number") from None
    return settings


def read_prompt(path: Path, option: str) -> str:
    """A prompt's file, without white space around it. ConfigError when it is missing, empty or not text."""
    try:
        text = read_text(path, RECIPE, "utf-8-sig").strip()
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}. Correct the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{option} {path}: not UTF-8 ({error.reason}). Save the file as UTF-8") from None
    if not text:
        raise ConfigError(f"{option} {path}: the file is empty. Write the prompt into it, or leave the option out")
    return text


def read_instruction(given: str) -> str:
    """An instruction as typed, or the text of the file that is called so."""
    if not given.strip():
        raise ConfigError("a folder of pictures needs --instruction: what to say of each, as text or as a file")
    names_a_file = "\n" not in given and given.lower().endswith((".txt", ".md"))
    return read_prompt(Path(given), "--instruction") if names_a_file else given.strip()
