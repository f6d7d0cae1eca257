"""Tokens and answers of llama.cpp for a GGUF file, through the API of its server."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.errors import ModelError

# Answers are constrained to ASCII: the server omits the log-probabilities of a token that ends within a character.
# Those of other tokens are the model's before the constraint.
ASCII = r"root ::= [ -~\n]+"
TOP = 20  # likeliest tokens whose log-probabilities are requested at every step
SECONDS = 3600
SERVER = Path(__file__).with_name("server.py")


@dataclass(frozen=True, slots=True)
class GeneratedToken:
    """One token of an answer, and the log-probabilities of the likeliest tokens at its position."""

    token: int
    logprobs: dict[int, float]


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """An answer and the length of its prompt in tokens, images included."""

    steps: tuple[GeneratedToken, ...]
    prompt: int


def tokenize(model: Path, text: str) -> list[int]:
    """Token ids of a text; special tokens in it are parsed."""
    return list(_ask(model, None, [text], [])["tokens"][0])


def chat(model: Path, mmproj: Path | None, chats: Sequence[list[dict[str, Any]]], tokens: int) -> list[ChatAnswer]:
    """Greedy ASCII answers of at most `tokens` tokens to chats in the form of OpenAI's messages.

    Raises ModelError when llama.cpp cannot load the files or refuses a chat.
    """
    settings = {"max_tokens": tokens, "temperature": 0, "logprobs": True, "top_logprobs": TOP, "grammar": ASCII}
    requests = [{"messages": messages, **settings} for messages in chats]
    return [_read(answer) for answer in _ask(model, mmproj, [], requests)["answers"]]


def _read(answer: dict[str, Any]) -> ChatAnswer:
    if "error" in answer:
        raise ModelError(f"llama.cpp refuses a chat with this model: {answer['error']}. Please report this")
    content = answer["choices"][0]["logprobs"]["content"]
    steps = (
        GeneratedToken(token["id"], {top["id"]: top["logprob"] for top in token["top_logprobs"]}) for token in content
    )
    return ChatAnswer(tuple(steps), answer["usage"]["prompt_tokens"])


def _ask(model: Path, mmproj: Path | None, texts: list[str], chats: list[dict[str, Any]]) -> Any:
    request = {"model": str(model), "mmproj": str(mmproj or ""), "texts": texts, "chats": chats}
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(request, file)
        file.flush()
        command = [sys.executable, "-P", str(SERVER), file.name]
        try:
            done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ModelError(
                f"{model.name}: llama.cpp did not answer within {SECONDS} s. Take a smaller model"
            ) from error
    if done.returncode:
        errors = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise ModelError(f"{model.name}: llama.cpp cannot run it: {errors[0]}. Please report this")
    return json.loads(done.stdout)
