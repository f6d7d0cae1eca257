"""A run over many mutants, by several processes of `tests.mutate.trial`; each result is written at once."""

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from tests.mutate import cover, scope
from tests.mutate.cover import Cover
from tests.mutate.operators import Mutant, mutants_of

PRELOADED = (  # packages that take long to import
    "torch",
    "torch.distributed",
    "torch._dynamo",
    "transformers",
    "transformers.generation.utils",
    "transformers.models.llama.modeling_llama",
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.models.qwen3.modeling_qwen3",
    "transformers.models.mistral.modeling_mistral",
    "transformers.models.clip.modeling_clip",
    "transformers.models.siglip.modeling_siglip",
    "peft",
    "bitsandbytes",
    "timm",
    "open_clip",
    "PIL.Image",
    "pyarrow.parquet",
    "matplotlib.figure",
    "gradio",
    "fastapi.testclient",
    "openai",
    "hypothesis",
    "pytest",
    "_pytest.assertion.rewrite",
    "xdist",
    "typer.testing",
)
SLACK_S = 60  # seconds beyond the traced time, for starting a process on a slow machine
LIKELY = 12  # tests that killed most mutants of a module, which are tried first
SLOWER = 3  # times the traced time after which a mutant counts as killed by time-out


class Campaign:
    """Traces tests and tries mutants of the tree `root`; its files are in the folder .mutate."""

    def __init__(self, root: Path, jobs: int, limit: float, preloaded: tuple[str, ...] = PRELOADED) -> None:
        """`jobs` mutants at a time, each with tests that took at most `limit` seconds when traced."""
        self.root, self.folder, self.jobs, self.limit = root, root / ".mutate", jobs, limit
        self.preloaded = preloaded
        self.explained: frozenset[str] = frozenset()  # survivors with a reason, which are not tried again
        self.killers: dict[str, Counter[str]] = defaultdict(Counter)  # by module: tests that killed a mutant of it
        self.map_path = self.folder / "map.json"
        self.tried_path = self.folder / "tried.jsonl"

    def trace(self, tests: list[str]) -> None:
        """Record which tests run which lines; with `tests`, for those files only, the rest of the map stays."""
        known = self._map() if tests and self.map_path.exists() else None
        modules = scope.modules(scope.CORE + scope.OTHERS)
        sources = {path: (self.root / path).read_text(encoding="utf-8").splitlines() for path in modules}
        folder = self.folder / ("part" if tests else "trace")
        cover.trace(folder, tests)
        fresh = cover.read(folder, self.root, sources)
        self.save_map(fresh if known is None else cover.merged(known, fresh))

    def save_map(self, tests: Cover) -> None:
        """Write the map by which tests are chosen."""
        self.map_path.write_text(json.dumps(cover.to_json(tests)), encoding="utf-8")

    def _map(self) -> Cover:
        return cover.from_json(json.loads(self.map_path.read_text(encoding="utf-8")))

    def run(self, counts: dict[str, int], seed: int) -> list[dict[str, Any]]:
        """Try `counts` mutants of each module, unless their result is known; returns all results."""
        drawn = [mutant for path, count in counts.items() for mutant in self._sampled(path, count, seed)]
        known = self._known()
        todo = [mutant for mutant in drawn if not self._is_known(mutant, known.get(mutant.name))]
        print(f"{len(drawn)} mutants of {len(counts)} modules, {len(drawn) - len(todo)} of them known", flush=True)
        self._try(todo)
        known = self._known()
        return [known[mutant.name] for mutant in drawn if mutant.name in known]

    def retry(self, names: list[str]) -> None:
        """Try these mutants again."""
        paths = scope.modules(scope.CORE + scope.OTHERS)
        mutants = [mutant for path in paths for mutant in mutants_of(path, (self.root / path).read_bytes())]
        found = [mutant for mutant in mutants if mutant.name in names]
        for name in set(names) - {mutant.name for mutant in found}:
            print(f"{name}: no mutant has this name. Was its module changed?")
        self._try(found)

    def _sampled(self, path: str, count: int, seed: int) -> list[Mutant]:
        return scope.sampled(path, (self.root / path).read_bytes(), count, seed)

    def _is_known(self, mutant: Mutant, known: dict[str, Any] | None) -> bool:
        if known is None or known["module"] != digest((self.root / mutant.path).read_bytes()):
            return False
        return known["status"] != "survived" or known["map"] == self._stamp() or mutant.name in self.explained

    def _learn(self, row: dict[str, Any]) -> None:
        if failure := row.get("failure"):
            self.killers[row["path"]][failure["test"]] += 1

    def _exists(self, test: str) -> bool:
        """Whether a traced test still has its name: otherwise pytest would fail, as if the mutant were killed."""
        file, _, name = test.partition("::")
        path = self.root / file
        return path.is_file() and f"def {name.partition('[')[0]}(" in path.read_text(encoding="utf-8")

    def _stamp(self) -> int:
        return int(self.map_path.stat().st_mtime)

    def _known(self) -> dict[str, dict[str, Any]]:
        """The latest result of each mutant, by name."""
        if not self.tried_path.exists():
            return {}
        rows = map(json.loads, self.tried_path.read_text(encoding="utf-8").splitlines())
        return {row["name"]: row for row in rows}

    def _try(self, mutants: list[Mutant]) -> None:
        if not mutants:
            return
        tests = self._map()
        for row in self._known().values():
            self._learn(row)
        waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
        for mutant in mutants:
            waiting.put(mutant)
        progress = _Progress(len(mutants))
        with tempfile.TemporaryDirectory(prefix="eyegraft-mutate-") as folder:
            threads = [
                threading.Thread(target=self._work, args=(Path(folder) / str(job), waiting, tests, progress))
                for job in range(min(self.jobs, len(mutants)))
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _work(self, copy: Path, waiting: "queue.SimpleQueue[Mutant]", tests: Cover, progress: "_Progress") -> None:
        copy_tree(self.root, copy)
        with _process(copy, self.preloaded) as process:
            while True:
                try:
                    mutant = waiting.get_nowait()
                except queue.Empty:
                    return
                row = self._one(process, mutant, (copy / mutant.path).read_bytes(), tests)
                with progress.lock:
                    self._learn(row)
                    self.folder.mkdir(exist_ok=True)
                    with self.tried_path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")
                    progress.report(row)

    def _one(self, process: "subprocess.Popen[str]", mutant: Mutant, source: bytes, tests: Cover) -> dict[str, Any]:
        likely = [test for test, _ in self.killers[mutant.path].most_common(LIKELY)]
        chosen = [test for test in tests.tests_of(mutant, source, self.limit, likely) if self._exists(test)]
        row = {
            "name": mutant.name,
            "path": mutant.path,
            "line": mutant.line,
            "scope": mutant.scope,
            "kind": mutant.kind,
            "before": mutant.before,
            "after": mutant.after,
            "module": digest(source),
            "map": self._stamp(),
            "tests": len(chosen),
        }
        if not chosen:
            return row | {"status": "survived", "passed": 0, "seconds": 0.0}
        expected = sum(tests.cost(test) for test in chosen)
        task = {
            "name": mutant.name,
            "path": mutant.path,
            "source": mutant.applied(source).decode(),
            "tests": chosen,
            "limit": SLOWER * expected + SLACK_S,
        }
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(task) + "\n")
        process.stdin.flush()
        return row | json.loads(process.stdout.readline())


class _Progress:
    """A line for each mutant, and how long the rest will take."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.began = total, 0, time.monotonic()
        self.lock = threading.Lock()

    def report(self, row: dict[str, Any]) -> None:
        """Report a finished mutant."""
        self.done += 1
        left = (time.monotonic() - self.began) / self.done * (self.total - self.done) / 60
        print(f"{self.done}/{self.total}, {left:.0f} min left: {described(row)}", flush=True)


def digest(source: bytes) -> str:
    """A hash of a module's source."""
    return hashlib.sha256(source).hexdigest()[:12]


def described(row: dict[str, Any]) -> str:
    """A mutant and its result, in one line."""
    words = f"{row['before']!r} -> {row['after']!r}"
    test = (row.get("failure") or {}).get("test", "")
    where = f"{row['name']} {row['path']}:{row['line']} {row['kind']}"
    return f"{row['status']:8} {where} {words[:100]}  {row['seconds']} s of {row['tests']} tests  {test}"


def copy_tree(root: Path, copy: Path) -> None:
    """Copy the tree without files that git ignores."""
    command = ["git", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        if name and (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name)


def _process(copy: Path, preloaded: tuple[str, ...]) -> "subprocess.Popen[str]":
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mutate.trial", *preloaded],
        cwd=copy,
        env=os.environ | quiet | {"PYTHONPATH": str(copy)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    if not process.stdout.readline():
        raise RuntimeError(f"python -m tests.mutate.trial did not start in {copy}")
    return process
