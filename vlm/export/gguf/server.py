"""llama.cpp's server answering one list of requests, as a process of its own: `python -P server.py FILE`.

A process of its own because a model that llama.cpp does not like may end the process, and because taking the server
down waits forever now and then (xllamacpp 2026.10): this one ends without. It imports nothing of ours.
"""

import json
import os
import secrets
import sys
import traceback
from types import TracebackType
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

from xllamacpp import CommonParams, Server

CONTEXT = 4096
SECONDS = 600


def main() -> None:
    """Answer and leave, whatever happened."""
    sys.excepthook = _fail
    server = _answer()  # held on to: the wait is in its end, which a return from there would be
    os._exit(0 if server else 1)


def _fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    traceback.print_exception(kind, error, trace)
    os._exit(1)


def _answer() -> Any:
    """Read {model, mmproj, texts, chats} from the file, write {tokens, answers} to standard output; the server."""
    with open(sys.argv[1], encoding="utf-8") as file:
        asked = json.load(file)
    answers = os.dup(1)
    os.dup2(2, 1)  # what llama.cpp prints is no answer
    key = secrets.token_hex(16)
    server = _serve(asked["model"], asked["mmproj"], key)
    answer = {
        "tokens": [_tokenize(server, key, text) for text in asked["texts"]],
        "answers": [server.handle_chat_completions(chat) for chat in asked["chats"]],
    }
    with open(answers, "w", encoding="utf-8") as out:
        json.dump(answer, out)
    return server


def _serve(model: str, mmproj: str, key: str) -> Any:
    """A server on a free port of this machine, behind a key that nobody else knows."""
    params = CommonParams()
    params.model.path, params.mmproj.path = model, mmproj
    params.n_ctx, params.n_parallel, params.n_gpu_layers = CONTEXT, 1, 0
    params.warmup, params.verbosity, params.api_keys = False, -1, [key]
    return Server(params)


def _tokenize(server: Any, key: str, text: str) -> list[int]:
    """The ids of a text whose special tokens are read as such."""
    body = json.dumps({"content": text, "parse_special": True, "add_special": False}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    straight = build_opener(ProxyHandler({}))  # no proxy between us and our own machine
    with straight.open(Request(server.listening_address + "/tokenize", body, headers), timeout=SECONDS) as answer:
        return list(json.load(answer)["tokens"])


if __name__ == "__main__":
    main()
