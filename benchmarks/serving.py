"""`python -m benchmarks.serving`: `eyegraft serve` over HTTP, against transformers' `generate` in this process.

Each round measures in turn, with prompts that share no beginning: `generate`, one client, four at once, twelve at once,
a short question asked during a long answer and alone, and the longest time between two events of a stream while a long
prompt is read. At the end the answers to 200 prompts, eight asked at once, are compared with those of `generate` one by
one. Medians of the rounds and of their ratios, wall and CPU time, and the cores that other processes used meanwhile are
printed and written to benchmarks/results/serving.json. It refuses to begin while other processes use more than half a
core, unless `--busy`.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path
from socket import socket
from typing import Any

import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from benchmarks.machine import machine
from llm.model import hf_loaders

RESULTS = Path("benchmarks/results/serving.json")
QUIET = 0.5  # cores that other processes may use
LOOK = 3.0  # seconds for which they are watched at first
START = 120.0  # seconds in which the server is ready
ANSWER = 300.0  # seconds that a request may take
LONG_PROMPT = 2_000  # tokens
MANY_TOKENS = 16  # of each of twelve answers
TRIES = 8  # of a figure during a long answer, which the model may end early
STORY = """Chapter one. Once upon a time there was a miller in a village by the river, who had three sons and a donkey.
Every morning the eldest son went down to the water, and every evening he came back and said what he had seen. One"""
TICKS = os.sysconf("SC_CLK_TCK")


class Client:
    """Asks the server for continuations of token ids."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, ids: list[int], tokens: int) -> "Answer":
        """A stream, read to its end."""
        answer = Answer()
        for event in self.events(ids, tokens):
            answer.take(event)
        return answer

    def events(self, ids: list[int], tokens: int) -> Iterator[dict[str, Any]]:
        """The events of a stream, as they come."""
        wanted = {"model": "model", "prompt": ids, "max_tokens": tokens, "temperature": 0.0, "stream": True}
        wanted["stream_options"] = {"include_usage": True}
        connection = HTTPConnection("127.0.0.1", self._port, timeout=ANSWER)
        try:
            connection.request("POST", "/v1/completions", json.dumps(wanted), {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert response.status == 200, f"{response.status}: {response.read(500)!r}"
            for line in response:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Whether the server answers."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/v1/models")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


class Answer:
    """The text of a stream, its tokens, and when its pieces came, in seconds from the question."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.times: list[float] = []
        self.text, self.tokens, self.complete = "", 0, False

    def take(self, event: dict[str, Any]) -> None:
        """One event."""
        for choice in event["choices"]:
            if choice["text"]:
                self.times.append(time.perf_counter() - self._began)
                self.text += choice["text"]
            self.complete = self.complete or bool(choice["finish_reason"])
        self.tokens = (event.get("usage") or {}).get("completion_tokens", self.tokens)


class Bench:
    """The model in this process, and the server of the same."""

    def __init__(self, folder: Path, client: Client, server: int, tokens: int, prompt: int) -> None:
        self.model: Any = hf_loaders.load_model(AutoModelForCausalLM, folder, dtype=torch.float32).eval()
        self.tokenizer: Any = hf_loaders.load_tokenizer(folder)
        self.client, self.server, self.tokens, self.prompt = client, server, tokens, prompt
        self._chance = random.Random(0)
        self.ends = {int(one) for one in (self.tokenizer.eos_token_id,) if one is not None}

    def ids(self, length: int) -> list[int]:
        """Random tokens that are text: no two prompts begin alike."""
        return [self._chance.randrange(1_000, 40_000) for _ in range(length)]

    def story(self) -> list[int]:
        """The beginning of a story that the model continues at length, after a few random tokens."""
        ids: list[int] = self.tokenizer(STORY).input_ids
        return [*self.ids(4), *ids[: self.prompt - 4]]

    def generate(self) -> dict[str, float]:
        """Tokens per second of wall and of CPU time by transformers' own loop."""
        ids = self.story()
        wall, cpu = time.perf_counter(), time.process_time()
        new = self.continued(ids, self.tokens)
        return {"wall": len(new) / (time.perf_counter() - wall), "cpu": len(new) / (time.process_time() - cpu)}

    def continued(self, ids: list[int], tokens: int) -> list[int]:
        """The new ids, greedily, the end mark included."""
        given = torch.tensor([ids])
        settings = GenerationConfig(max_new_tokens=tokens, do_sample=False, pad_token_id=0, eos_token_id=[*self.ends])
        output = self.model.generate(given, attention_mask=torch.ones_like(given), generation_config=settings)
        new: list[int] = output[0, len(ids) :].tolist()
        return new

    def clients(self, count: int, tokens: int = 0) -> dict[str, float]:
        """Tokens per second of wall and of the server's CPU time for clients that ask at once; and those lost."""
        prompts = [self.story() for _ in range(count)]
        wall, cpu = time.perf_counter(), cpu_seconds(self.server)
        with ThreadPoolExecutor(count) as pool:
            found = list(pool.map(lambda ids: self.client.ask(ids, tokens or self.tokens), prompts))
        passed, used = time.perf_counter() - wall, cpu_seconds(self.server) - cpu
        new = sum(answer.tokens for answer in found)
        lost = sum(not answer.complete for answer in found)
        return {"wall": new / passed, "cpu": new / used, "lost": lost, "tokens": new}

    def while_answering(self) -> dict[str, float]:
        """Seconds to the first piece of a short question's answer during a long answer, and alone."""
        during, _, _ = self.during_a_stream(self.ids(16))
        return {"during": during, "alone": self.client.ask(self.ids(16), 2).times[0]}

    def gap(self) -> dict[str, float]:
        """The longest seconds between two pieces of a stream while a long prompt is read, and those of the prompt."""
        arriving, stream, before = self.during_a_stream(self.ids(LONG_PROMPT))
        times = stream.times[before - 1 :]
        return {"gap": max(later - one for one, later in pairwise(times)), "prompt": arriving, "pieces": len(times)}

    def during_a_stream(self, ids: list[int]) -> tuple[float, Answer, int]:
        """Seconds to the first piece after these ids during a long answer; that answer, and its pieces before."""
        for _ in range(TRIES):
            with self.streaming() as stream:
                before = len(stream.times)
                seconds = self.client.ask(ids, 2).times[0]
                if not stream.complete:
                    return seconds, stream, before
        sys.exit(f"the model ended {TRIES} long answers early; take another model")

    @contextmanager
    def streaming(self) -> Iterator[Answer]:
        """A long answer that is in progress inside the block, and is left at its end."""
        stream, over = Answer(), [False]

        def follow() -> None:
            for event in self.client.events(self.story(), 4_000):
                stream.take(event)
                if over[0]:
                    return

        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(follow)
            try:
                while len(stream.times) < 5 and not following.done():
                    time.sleep(0.01)
                yield stream
            finally:
                over[0] = True
                following.result()

    def compare(self, count: int, tokens: int) -> dict[str, Any]:
        """How many of so many prompts are answered as by `generate`; eight are asked at once."""
        prompts = [self.ids(self._chance.randrange(4, 40)) for _ in range(count)]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda ids: self.client.ask(ids, tokens), prompts))
        expected = [self.text_of(self.continued(ids, tokens)) for ids in prompts]
        unequal = [ids for ids, ours, theirs in zip(prompts, found, expected, strict=True) if ours.text != theirs]
        return {"prompts": count, "tokens": tokens, "equal": count - len(unequal), "unequal": unequal}

    def text_of(self, new: list[int]) -> str:
        """The text that is shown of new ids."""
        return str(self.tokenizer.decode([one for one in new if one not in self.ends], skip_special_tokens=True))


def cpu_seconds(process: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Others:
    """Counts the cores that processes other than this one and `server` use."""

    def __init__(self, server: int = 0) -> None:
        self._server, self._wall, self._used = server, time.perf_counter(), self._seconds(server)

    def cores(self) -> float:
        """Since it was made, on average."""
        return (self._seconds(self._server) - self._used) / (time.perf_counter() - self._wall)

    def _seconds(self, server: int) -> float:
        line = Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()
        user, nice, system, _, _, irq, softirq = (int(one) for one in line[1:8])
        busy = (user + nice + system + irq + softirq) / TICKS
        return busy - time.process_time() - (cpu_seconds(server) if server else 0.0)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Client, int]]:
    """`eyegraft serve` of the folder, in a process of its own."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vlm.app.cli", "serve", f"model={folder}", "--port", str(port), "--queue", "16"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            client, last = Client(port), time.monotonic() + START
            while not client.is_ready():
                assert process.poll() is None and time.monotonic() < last, "the server did not start"
                time.sleep(0.2)
            client.ask([*range(1_000, 1_040)], 4)  # the check of the model, and the first use of everything
            yield client, process.pid
        finally:
            process.terminate()
            process.wait(30)


def main() -> None:
    """Measure, print and write."""
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path, nargs="?", default=Path("assets/smollm2"), help="model to serve")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--tokens", type=int, default=96, help="of an answer")
    options.add_argument("--prompt", type=int, default=32, help="tokens of a prompt")
    options.add_argument("--compare", type=int, default=200, help="prompts whose answers are compared")
    options.add_argument("--busy", action="store_true", help="measure although other processes are busy")
    given = options.parse_args()
    before = Others()
    time.sleep(LOOK)
    if (others := before.cores()) > QUIET and not given.busy:
        sys.exit(f"other processes use {others:.1f} cores, so times would say nothing: end them, or add --busy")
    began = time.monotonic()
    with serving(given.folder) as (client, server):
        bench = Bench(given.folder, client, server, given.tokens, given.prompt)
        bench.continued(bench.ids(16), 4)
        found, cores = measure(bench, given.rounds)
        figures = summary(found)
        figures["equal to generate"] = bench.compare(given.compare, 8) if given.compare else {}
    entry: dict[str, object] = {"others' cores": cores, "load": os.getloadavg(), "threads": torch.get_num_threads()}
    entry |= {"tokens": given.tokens, "prompt": given.prompt}
    write("served fp32", entry | {"minutes": (time.monotonic() - began) / 60, "figures": figures, "rounds": found})
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(f"other processes used {statistics.median(cores):.2f} cores (median of the rounds)")


def measure(bench: Bench, rounds: int) -> tuple[dict[str, list[dict[str, float]]], list[float]]:
    """The rounds of each way, and the cores that other processes used in each round."""
    ways: dict[str, Callable[[], dict[str, float]]] = {
        "generate": bench.generate,
        "one client": lambda: bench.clients(1),
        "four clients": lambda: bench.clients(4),
        "twelve clients": lambda: bench.clients(12, MANY_TOKENS),
        "short question": bench.while_answering,
        "long prompt": bench.gap,
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    cores: list[float] = []
    for number in range(rounds):
        others = Others(bench.server)
        for name, way in ways.items():
            found[name].append(way())
        cores.append(others.cores())
        print(f"round {number + 1}: others used {cores[-1]:.2f} cores; {json.dumps(last(found))}", flush=True)
    return found, cores


def last(found: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The newest round, rounded."""
    return {name: {key: round(value, 2) for key, value in some[-1].items()} for name, some in found.items()}


def summary(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of the rounds, and of the ratios of a round."""

    def ratio(name: str, base: str, time_of: str) -> float:
        pairs = zip(found[name], found[base], strict=True)
        return statistics.median(one[time_of] / other[time_of] for one, other in pairs)

    short, long = found["short question"], found["long prompt"]
    return {
        **{f"{name}, tokens/s": statistics.median(one["wall"] for one in found[name]) for name in [*found][:4]},
        **{f"one client against generate, {kind} time": ratio("one client", "generate", kind) for kind in KINDS},
        **{f"four clients against one, {kind} time": ratio("four clients", "one client", kind) for kind in KINDS},
        "first token of a short question during a long answer, seconds": statistics.median(s["during"] for s in short),
        "the same, more than alone": statistics.median(one["during"] - one["alone"] for one in short),
        "longest gap of a stream during a prompt of 2,000 tokens, seconds": statistics.median(s["gap"] for s in long),
        "seconds of that prompt": statistics.median(one["prompt"] for one in long),
        "answers lost of twelve at once": sum(one["lost"] for one in found["twelve clients"]),
    }


KINDS = ("wall", "cpu")


def write(name: str, entry: dict[str, object]) -> None:
    """Write a run beside those of other kinds."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    command = " ".join(["python -m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    run = {"machine": machine(), "command": command, "day": str(date.today()), **entry}
    RESULTS.write_text(json.dumps(results | {name: run}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
