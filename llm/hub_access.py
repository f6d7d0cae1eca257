"""Whether the Hugging Face hub answers, within two seconds, and what to do where it does not.

Its client tries again for a minute or more before it gives up, and its message names neither mirrors nor folders.
"""

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from huggingface_hub import constants

PATIENCE_S = 2.0
MIRROR = "https://hf-mirror.com"
PATIENCE_KEY = "HF_HUB_ETAG_TIMEOUT"  # the client's own variable: seconds that it waits for an answer


def why_unreachable(endpoint: str = "") -> str:
    """Why the hub cannot be asked now, in words; empty if it answers, with whatever status below 500.

    `endpoint`: the address of another hub than Hugging Face's; HF_HUB_OFFLINE is for all of them.
    """
    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    found: list[str] = []
    seconds = _patience()
    # A thread, since looking up a name knows no time limit. It is abandoned where it hangs.
    asking = threading.Thread(target=lambda: found.append(_ask(endpoint or constants.ENDPOINT, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    return found[0] if found else _late(seconds)


class HubSettings(Protocol):
    """Where a library keeps whether it is offline: huggingface_hub's constants, or the copy of `datasets`."""

    HF_HUB_OFFLINE: bool


@contextmanager
def local_copies_only(problem: str, settings: HubSettings = constants) -> Iterator[None]:
    """Inside, where there is a `problem`, the library takes local copies and sends no request."""
    before = settings.HF_HUB_OFFLINE
    settings.HF_HUB_OFFLINE = before or bool(problem)
    try:
        yield
    finally:
        settings.HF_HUB_OFFLINE = before


def _patience() -> float:
    """Seconds to wait: the client's variable where the user has set it."""
    return constants.HF_HUB_ETAG_TIMEOUT if PATIENCE_KEY in os.environ else PATIENCE_S


def _ask(endpoint: str, seconds: float) -> str:
    """Why it does not answer, or empty. urllib knows the proxies of the environment, as the client does."""
    try:
        urlopen(Request(endpoint, method="HEAD"), timeout=seconds).close()
    except HTTPError as error:
        return f"it answers {error.code}" if error.code >= 500 else ""
    except URLError as error:
        # The client has certificates of its own: it may be let in where urllib is not.
        return "" if isinstance(error.reason, ssl.SSLError) else _named(error.reason, seconds)
    except (OSError, ValueError, HTTPException) as error:
        return _named(error, seconds)
    return ""


def _named(reason: object, seconds: float) -> str:
    return _late(seconds) if isinstance(reason, TimeoutError) else str(reason) or type(reason).__name__


def _late(seconds: float) -> str:
    return f"no answer within {seconds:g} s; {PATIENCE_KEY} sets how long is waited"


def hub_host() -> str:
    """The host that is asked: huggingface.co, or that of HF_ENDPOINT."""
    return urlsplit(constants.ENDPOINT).netloc or constants.ENDPOINT or "HF_ENDPOINT, which is empty"


def other_ways(kind: str, name: str, files: str = "") -> str:
    """How a model or data set (`kind`) comes here otherwise: from another machine, a mirror, or ModelScope.

    `files`: arguments of `hf download` where some of the files are enough.
    """
    folder = f"{kind}s/{name.split('/')[-1]}"
    data = " --repo-type dataset" if kind == "dataset" else ""
    mirror = "" if "HF_ENDPOINT" in os.environ else f"A mirror is asked with HF_ENDPOINT={MIRROR}"
    command = f"`hf download {name}{data}{files} --local-dir {folder}`"
    sentences = (
        f"Where the hub can be reached, run {command}, copy the folder here and name it instead",
        mirror,
        f"ModelScope has many under the same name: `modelscope download --{kind} {name} --local_dir {folder}`",
    )
    return ". ".join(filter(None, sentences))


def modelscope_ways(kind: str, name: str) -> str:
    """The same for a model or data set that ModelScope was asked for."""
    data, folder = "datasets/" if kind == "dataset" else "", f"{kind}s/{name.split('/')[-1]}"
    return (
        f"Where ModelScope can be reached, run `modelscope download --{kind} {name} --local_dir {folder}`, copy the "
        f"folder here and name it instead. The Hugging Face hub has many under the same name: hf:{data}{name}"
    )
