"""What llama.cpp makes of a file, asked as any client of its server asks."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm.errors import ModelError

# The server leaves out the log-probabilities of a token that ends within a character. The others' are what the model
# gives before this constrains what is said.
ASCII = r"root ::= [ -~\n]+"
TOP = 20  # likeliest tokens whose log-probabilities are asked for at every step
SECONDS = 3600
SERVER = Path(__file__).with_name("server.py")


@dataclass(frozen=True, slots=True)
class Step:
    """One token of an answer, and the log-probabilities of the likeliest tokens at its place."""

    token: int
    logprobs: dict[int, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said to a chat, and the length of its prompt, image rows included."""

    steps: tuple[Step, ...]
    prompt: int


def tokenize(model: Path, text: str) -> list[int]:
    """The ids of a text whose special tokens are read as such."""
    return list(_ask(model, None, [text], [])["tokens"][0])


def chat(model: Path, mmproj: Path | None, chats: Sequence[list[dict[str, Any]]], tokens: int) -> list[Answer]:
    """The likeliest ASCII answers, of at most that many tokens, to chats of messages as OpenAI's API has them.

    Raises ModelError when llama.cpp cannot load the files or refuses a chat.
    """
    settings = {"max_tokens": tokens, "temperature": 0, "logprobs": True, "top_logprobs": TOP, "grammar": ASCII}
    asked = [{"messages": messages, **settings} for messages in chats]
    return [_read(answer) for answer in _ask(model, mmproj, [], asked)["answers"]]


def _read(answer: dict[str, Any]) -> Answer:
    if "error" in answer:
        raise ModelError(f"llama.cpp refuses a chat with this model: {answer['error']}. Please report this")
    places = answer["choices"][0]["logprobs"]["content"]
    steps = (Step(place["id"], {top["id"]: top["logprob"] for top in place["top_logprobs"]}) for place in places)
    return Answer(tuple(steps), answer["usage"]["prompt_tokens"])


def _ask(model: Path, mmproj: Path | None, texts: list[str], chats: list[dict[str, Any]]) -> Any:
    asked = {"model": str(model), "mmproj": str(mmproj or ""), "texts": texts, "chats": chats}
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(asked, file)
        file.flush()
        command = [sys.executable, "-P", str(SERVER), file.name]
        try:
            done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{model.name}: llama.cpp did not answer within {SECONDS} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        raise ModelError(f"{model.name}: llama.cpp cannot run it: {said[0]}. Please report this")
    return json.loads(done.stdout)
