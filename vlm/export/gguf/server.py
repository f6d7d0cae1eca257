"""Answers one list of requests with llama.cpp's server: `python -P server.py FILE`.

It runs in a process of its own because llama.cpp may end the process on a model that it cannot load, and because
destroying the server sometimes never returns (xllamacpp 2026.10): this process exits without. It imports no module of
ours.
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
    """Answer the requests, then exit without destroying the server."""
    sys.excepthook = _fail
    server = _answer()  # kept alive: its destructor is what may never return
    os._exit(0 if server else 1)


def _fail(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    traceback.print_exception(kind, error, trace)
    os._exit(1)


def _answer() -> Any:
    """Read {model, mmproj, texts, chats} from the file, write {tokens, answers} to standard output; the server."""
    with open(sys.argv[1], encoding="utf-8") as file:
        asked = json.load(file)
    answers = os.dup(1)
    os.dup2(2, 1)  # llama.cpp's own output goes to standard error
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
    """A server on a free local port that requires a secret key."""
    params = CommonParams()
    params.model.path, params.mmproj.path = model, mmproj
    params.n_ctx, params.n_parallel, params.n_gpu_layers = CONTEXT, 1, 0
    params.warmup, params.verbosity, params.api_keys = False, -1, [key]
    return Server(params)


def _tokenize(server: Server, key: str, text: str) -> list[int]:
    """Token ids of a text; special tokens in it are parsed."""
    body = json.dumps({"content": text, "parse_special": True, "add_special": False}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    straight = build_opener(ProxyHandler({}))  # a local address needs no proxy
    with straight.open(Request(server.listening_address + "/tokenize", body, headers), timeout=SECONDS) as answer:
        return list(json.load(answer)["tokens"])


if __name__ == "__main__":
    main()
