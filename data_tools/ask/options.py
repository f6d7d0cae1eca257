"""The options of the command, each checked before anything is sent."""

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
RESERVED = ("model", "messages", "stream", "stream_options", "n")  # request fields that --set may not change
OUTPUTS = (".jsonl", ".json")


@dataclass(frozen=True, slots=True)
class AskOptions:
    """The options of `eyegraft data ask` besides QUESTIONS and OUT; 0 and "" mean not given."""

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


def check_applicable(options: AskOptions, images: bool) -> None:
    """ConfigError for an option that has no effect on questions about images, or on those about text."""
    misused = {
        "--instruction": bool(options.instruction) and not images,
        "--turns": bool(options.turns) and not images,
        "--question": bool(options.question) and (not images or bool(options.turns)),
        "--field": bool(options.field) and images,
        "--keep-system": options.keep_system and (images or not options.system),
    }
    purpose = {
        "--instruction": "is for a folder of images",
        "--turns": "is for a folder of images",
        "--question": "is for captions: the question stored in place of the instruction",
        "--field": "is for a file of questions",
        "--keep-system": "stores the text of --system with answers to text",
    }
    for name, is_misused in misused.items():
        if is_misused:
            raise ConfigError(f"{name}: {purpose[name]}. Leave it out")


def check_out(out: Path, source: Path) -> Path:
    """The file to write. ConfigError for an unknown suffix, the questions' own file, and a file of another program."""
    if out.exists() and out.samefile(source):
        raise ConfigError(f"{out}: is the file of questions. Choose another OUT")
    if out.suffix.lower() not in OUTPUTS:
        raise ConfigError(f"{out}: answers are written as {' or '.join(OUTPUTS)}. Give OUT one of these suffixes")
    if out.exists() and not journal_path(out).exists():
        raise ConfigError(f"{out}: exists and was not written by `data ask`. Choose another OUT")
    return out


def check_url(url: str, option: str = "--base-url") -> str:
    """The server's address. ConfigError, which names the option, when it is no URL or contains a password."""
    try:
        parts = urlsplit(url)
        found = bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        found = False
    if not found:
        raise ConfigError(f"{option} {url}: is not a URL. Give one such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise ConfigError(f"{option}: contains a password or a query. Put the key into a variable: see --key-env")
    return url


def is_unencrypted(url: str) -> bool:
    """Whether a key sent to `url` could be read in transit: no TLS, and not this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True


def read_settings(pairs: Iterable[str]) -> dict[str, object]:
    """Parse NAME=VALUE pairs; a value is JSON if it parses, otherwise text. ConfigError for what cannot be sent."""
    settings: dict[str, object] = {}
    for pair in pairs:
        name, given, value = pair.partition("=")
        if not given or not name:
            raise ConfigError(f"--set {pair}: is not NAME=VALUE. Write for example temperature=0.7")
        if name in RESERVED:
            raise ConfigError(f"--set {name}: is set by `data ask`. Leave it out")
        try:
            settings[name] = json.loads(value)
        except ValueError:
            settings[name] = value
    try:
        json.dumps(settings, allow_nan=False)
    except ValueError:
        raise ConfigError("--set: JSON has no NaN and no infinity. Give a number") from None
    return settings


def read_prompt(path: Path, option: str) -> str:
    """The stripped text of a prompt file. ConfigError when it is missing, empty or not UTF-8."""
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
    """The instruction, or the text of the .txt or .md file that it names."""
    if not given.strip():
        raise ConfigError("a folder of images needs --instruction. Give the text, or a .txt or .md file with it")
    names_a_file = "\n" not in given and given.lower().endswith((".txt", ".md"))
    return read_prompt(Path(given), "--instruction") if names_a_file else given.strip()
