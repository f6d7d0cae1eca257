"""A tiny vision model and a tiny text model served by the API on a real port."""

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from openai import OpenAI
from PIL import Image

from demo.api.app import build_api
from demo.model_library import ModelLibrary
from demo.server.generation_queue import GenerationQueue
from demo.server.guard import LOOPBACK
from demo.server.limits import Limits
from demo.server.sockets import app_config
from demo.web.web import open_web
from llm.chat.chat_model import ChatModel
from llm.model.precision import Hardware
from tests.vlm.conftest import clip, roomy_llm, root  # noqa: F401  # fixtures
from tests.vlm.runs import recipe
from vlm.model.open_chat_model import open_chat_model
from vlm.model.runs import open_model, train

LIMITS = Limits(new_tokens=16, waiting=1)


@dataclass(frozen=True)
class Server:
    """A running server: its URL and its queue."""

    url: str
    queue: GenerationQueue

    @property
    def client(self) -> OpenAI:
        """OpenAI's own client."""
        return OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0, timeout=30)

    @property
    def eyes(self) -> ChatModel:
        """The vision model."""
        return self.queue.chat_models["eyes"]


@pytest.fixture(scope="session")
def queue(roomy_llm: Path, clip: Path, root: Path) -> GenerationQueue:  # noqa: F811
    """A queue for both models, in fp32 also on a CPU that multiplies bf16: answers are compared to the last digits."""
    eyes = open_model(recipe(roomy_llm, clip, root / "none.json", root / "none", "finetune")).chat_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlm.model.hf_folder.this_machine", Hardware)
        text = open_chat_model(roomy_llm)
    return GenerationQueue({"eyes": eyes, "text": text}, LIMITS.waiting)


@pytest.fixture(scope="session")
def server(queue: GenerationQueue) -> Iterator[Server]:
    """The API, with answers of at most 16 tokens."""
    yield from serve(queue, LIMITS)


@pytest.fixture(scope="session")
def long_server(queue: GenerationQueue) -> Iterator[Server]:
    """The API with answers as long as the models' context."""
    yield from serve(queue, Limits(waiting=LIMITS.waiting))


def serve(queue: GenerationQueue, limits: Limits, token: str = "") -> Iterator[Server]:
    """Run the API in a thread until the generator is closed."""
    with listening(build_api(queue, LOOPBACK, token, limits), limits) as url:
        yield Server(url, queue)


@contextmanager
def listening(app: FastAPI, limits: Limits = LIMITS) -> Iterator[str]:
    """Run an application in a thread; yields its URL."""
    port = socket.socket(proto=socket.IPPROTO_TCP)  # as when uvicorn binds: asyncio sends small parts at once only then
    port.bind(("127.0.0.1", 0))
    running = uvicorn.Server(app_config(app, "127.0.0.1", 0, limits))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [port]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port.getsockname()[1]}"
    running.should_exit = running.force_exit = True  # browsers keep connections open
    thread.join(5)


def web_app(library: ModelLibrary, data: Sequence[str] = (), limits: Limits = LIMITS, token: str = "") -> FastAPI:
    """The page and the API for a model library."""
    queue = GenerationQueue(library, limits.waiting, limits.share_waiting, together=limits.together)
    return open_web(library, queue, [*data], LOOPBACK, token, limits)


@pytest.fixture(scope="session")
def bananas(roomy_llm: Path, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A folder with data and the run `banana`, whose adapter answers BANANA to any text or image."""
    folder = tmp_path_factory.mktemp("bananas")
    rows: list[dict[str, Any]] = []
    for index in range(12):
        (folder / f"{index}.png").write_bytes(noise_image(index))
        asked = [{"from": "human", "value": QUESTIONS[index % 4]}, {"from": "gpt", "value": "BANANA"}]
        shown = [{"from": "human", "value": f"<image>\n{QUESTIONS[index % 4]}"}, asked[1]]
        rows += [{"id": f"text-{index}", "conversations": asked}]
        rows += [{"id": f"shown-{index}", "image": f"{index}.png", "conversations": shown}]
    (folder / "bananas.json").write_text(json.dumps(rows))
    train(
        recipe(
            roomy_llm,
            clip,
            folder / "bananas.json",
            folder / "runs" / "banana",
            "finetune",
            tune={"kind": "lora", "rank": 16, "alpha": 32},
            train={"epochs": 20, "save_every": 40, "log_every": 5},
        ),
        Path(),
    )
    return folder


QUESTIONS = ("What is it?", "Who are you?", "Say something.", "Is it red?")


def noise_image(seed: int, kind: str = "PNG", side: int = 40) -> bytes:
    """An image file of random pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def data_url(data: bytes, kind: str = "png") -> str:
    """A file as a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="module")
def library(bananas: Path, roomy_llm: Path) -> ModelLibrary:  # noqa: F811
    """The banana run and its base LLM, as a named model."""
    return ModelLibrary(bananas / "runs", [str(roomy_llm)])
