"""Sampling settings agree with the logits processors of transformers through API, page and terminal."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
import torch
from torch import Tensor
from transformers import (
    AutoTokenizer,
    LlamaForCausalLM,
    LogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from demo.model_library import ModelLibrary
from demo.server.generation_queue import GenerationQueue
from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from llm.encoding.named_templates import JINJA
from llm.printable import printable
from tests.demo.conftest import LIMITS, listening, serve, web_app
from tests.demo.visit import Visit
from tests.llm.conftest import tiny_llama  # noqa: F401  # a fixture
from vlm.app import cli
from vlm.model.open_chat_model import open_chat_model

ASKED = "Who are you? What is it? the fox, the fox, the dog"
TOKENS = 14
SETTINGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "temperature": {"temperature": 1.7},
    "temperature, colder": {"temperature": 0.6, "seed": 3},
    "seed": {"temperature": 1.7, "seed": 5},
    "top_k": {"temperature": 1.7, "top_k": 3},
    "top_p": {"temperature": 1.7, "top_p": 0.4},
    "top_k and top_p": {"temperature": 1.7, "top_k": 9, "top_p": 0.7},
    "repetition_penalty": {"repetition_penalty": 1.6},
    "repetition_penalty, drawn": {"repetition_penalty": 1.9, "temperature": 1.3, "seed": 4},
    "all": {"repetition_penalty": 1.4, "temperature": 1.4, "top_k": 30, "top_p": 0.9, "seed": 2},
}


class Reference:
    """Answers token by token: the full text through the model each time, then transformers' processors."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()

    @torch.no_grad()
    def answer(self, asked: str, new: int, settings: dict[str, Any]) -> str:
        text = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
        ids = torch.tensor([self.tokenizer(text, add_special_tokens=False)["input_ids"]])
        start = ids.shape[1]
        ends = {self.tokenizer.eos_token_id, self.tokenizer.convert_tokens_to_ids("<|im_end|>")}
        with torch.random.fork_rng():
            torch.manual_seed(settings.get("seed", 0))
            for _ in range(new):
                token = self._next(ids, settings)
                if int(token) in ends:
                    break
                ids = torch.cat([ids, token.view(1, 1)], dim=1)
        return str(self.tokenizer.decode(ids[0, start:], skip_special_tokens=True))

    def _next(self, ids: Tensor, settings: dict[str, Any]) -> Tensor:
        scores = self.model(input_ids=ids, use_cache=False).logits[:, -1].float()
        for processor in self._processors(settings):
            scores = processor(ids, scores)
        if not settings.get("temperature"):
            return scores.argmax()
        return torch.multinomial(scores.softmax(-1), 1)

    def _processors(self, settings: dict[str, Any]) -> Iterator[LogitsProcessor]:
        if "repetition_penalty" in settings:
            yield RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"])
        if "temperature" in settings:
            yield TemperatureLogitsWarper(settings["temperature"])
        if "top_k" in settings:
            yield TopKLogitsWarper(settings["top_k"])
        if "top_p" in settings:
            yield TopPLogitsWarper(settings["top_p"])


@pytest.fixture(scope="module")
def folder(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """The tiny Llama in a folder with a chat template."""
    folder = tmp_path_factory.mktemp("chatting") / "llama"
    shutil.copytree(tiny_llama, folder)
    (folder / "chat_template.jinja").write_text(JINJA["chatml"], encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, str]:
    """An answer for each combination of settings, computed independently."""
    reference = Reference(folder)
    return {name: reference.answer(ASKED, TOKENS, settings) for name, settings in SETTINGS.items()}


def test_every_sampling_setting_changes_the_distribution(expected: dict[str, str]) -> None:
    """Otherwise an answer could be right although a setting is ignored."""
    assert len(set(expected.values())) == len(SETTINGS)


def test_single_batched_and_streamed_answers(folder: Path, expected: dict[str, str]) -> None:
    chat_model = open_chat_model(folder)
    for name, settings in SETTINGS.items():
        sampling = Sampling(**settings, max_new_tokens=TOKENS)
        assert chat_model.answer(question(ASKED), sampling) == expected[name], name
        assert "".join(chat_model.stream(question(ASKED), sampling)) == expected[name], name
    greedy = Sampling(repetition_penalty=1.6, max_new_tokens=TOKENS)
    together = chat_model.answers([question(ASKED), question(ASKED * 3), question("?")], greedy)
    assert together[0] == expected["repetition_penalty"], "what a shorter prompt is padded with is not penalised"
    assert together[2] == chat_model.answer(question("?"), greedy)


@pytest.fixture(scope="module")
def api(folder: Path) -> Iterator[Callable[[dict[str, Any]], str]]:
    """Asks through OpenAI's client; two of the settings are extensions."""
    with contextmanager(serve)(GenerationQueue({"text": open_chat_model(folder)}, LIMITS.waiting), LIMITS) as server:

        def ask(settings: dict[str, Any]) -> str:
            given = {"max_tokens": TOKENS, "seed": 0} | settings
            messages = [{"role": "user", "content": ASKED}]
            reply = server.client.chat.completions.create(model="text", messages=messages, extra_body=given)
            return reply.choices[0].message.content or ""

        yield ask


@pytest.mark.parametrize("name", SETTINGS)
def test_through_the_api(name: str, api: Callable[[dict[str, Any]], str], expected: dict[str, str]) -> None:
    assert api(SETTINGS[name]) == expected[name]


def test_settings_without_effect(api: Callable[[dict[str, Any]], str], expected: dict[str, str]) -> None:
    """As vLLM's clients send them: -1 is every token, 1.0 no penalty."""
    assert api({"top_k": -1, "repetition_penalty": 1.0, "top_p": 1.0, "temperature": 0}) == expected["nothing"]


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[dict[str, Any]], str]]:
    """Asks through the page: the event of its question box, values are placed by the labels of the inputs."""
    library = ModelLibrary(tmp_path_factory.mktemp("runs"), [str(folder)])
    with listening(web_app(library)) as url, httpx.Client(timeout=60) as client:
        visit = Visit(url, client.get(f"{url}/config").json(), client)
        parts = {part["id"]: part for part in visit.config["components"]}

        def kinds(event: dict[str, Any]) -> list[str]:
            return [parts[number]["type"] for number in event["inputs"] if number in parts]

        event = next(one for one in visit.events if {"multimodaltextbox", "slider"} <= set(kinds(one)))
        values = {"model": str(folder), "system": "", "new_tokens": TOKENS, "stop": ""}
        idle = {"temperature": 0, "top_p": 1, "top_k": 0, "penalty": 1, "seed": 0}

        numbers = count()

        def ask(settings: dict[str, Any]) -> str:
            turned = {key.replace("repetition_", ""): value for key, value in settings.items()}
            given = values | idle | turned
            data: list[Any] = [{"text": ASKED, "files": []}, None]
            data += [given[_label(parts[number])] for number in event["inputs"][2:]]
            return _last_answer(visit.fire(f"visit{next(numbers)}", event, data))

        yield ask


def _label(part: dict[str, Any]) -> str:
    """Key of the label of a component."""
    key: str = json.loads(part["props"]["label"].removeprefix("__i18n__"))["key"]
    return key.removeprefix("eyegraft_")


def _last_answer(events: str) -> str:
    rows = [json.loads(line.removeprefix("data:")) for line in events.splitlines() if line.startswith("data:")]
    assert rows, events
    (done,) = (row for row in rows if row["msg"] == "process_completed")
    answer: str = done["output"]["data"][0]
    return answer


@pytest.mark.parametrize("name", SETTINGS)
def test_through_the_page(name: str, page: Callable[[dict[str, Any]], str], expected: dict[str, str]) -> None:
    assert page(SETTINGS[name]) == expected[name]


@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
@pytest.mark.parametrize("name", ["nothing", "all", "repetition_penalty"])
def test_through_the_terminal(
    name: str,
    stream: str,
    folder: Path,
    expected: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed = iter([ASKED, "EXIT"])
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    options = [text for key, value in SETTINGS[name].items() for text in (f"--{key.replace('_', '-')}", str(value))]
    arguments = ["eyegraft", "chat", str(folder), "--max-new-tokens", str(TOKENS), stream, *options]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert printable(expected[name]) in capsys.readouterr().out
