"""Which tests run a line, cheapest first: from the files that `tests.mutate.tracing` wrote."""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import chain
from pathlib import Path
from typing import Any

import coverage

from tests.mutate.operators import Mutant

STARTED_BY = {
    "vlm/export/gguf/server.py": "vlm/export/gguf/llama_cpp.py"
}  # run in a process that coverage does not see the end of
PREPARED_S = 0.3  # further tests of a file that runs anyway are taken below this cost, whatever the limit
CHEAP_S = 1.0  # tests below this are tried before others
WORKERS = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
# Browser tests, and tests that read the sources: they do not depend on what a line computes.
LEFT_OUT = (
    "tests/demo/pages/test_browser.py",
    "tests/demo/pages/test_browser_answers.py",
    "tests/demo/pages/test_browser_data.py",
    "tests/test_imports.py",
    "tests/test_pretrained.py",
    "tests/test_mutate.py",
)


@dataclass
class Cover:
    """Tests by module and line, the seconds of tests and fixtures, and the fixtures of each test."""

    seconds: dict[str, float] = field(default_factory=dict)  # of tests and of fixtures
    fixtures: dict[str, list[str]] = field(default_factory=dict)  # of each test
    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)  # module -> line -> tests
    sources: dict[str, list[str]] = field(default_factory=dict)  # the modules as they were traced
    _importers: dict[str, set[str]] = field(default_factory=dict, compare=False)  # files of tests, by module

    def tests_of(self, mutant: Mutant, source: bytes, limit: float, likely: Sequence[str] = ()) -> list[str]:
        """Tests of the mutant's lines, then other tests of its module, that take at most `limit` seconds together.

        Tests in `likely` come first, then cheap ones, then the others. Tests of files that import the module are
        included: values that are read but not executed, such as a default, have no line in the trace.
        """
        lines = self.lines.get(mutant.path) or self.lines.get(STARTED_BY.get(mutant.path, ""), {})
        exact = {test for line in self._places(mutant, source) for test in lines.get(line, ())}
        others = {test for tests in lines.values() for test in tests} | self._importing(mutant.path)
        others -= exact
        first = [test for test in likely if test in exact]
        left = (exact - set(first), others)
        cheap = [{test for test in group if self.cost(test) < CHEAP_S} for group in left]
        dear = [group - some for group, some in zip(left, cheap, strict=True)]
        return self._affordable([first, *map(self._by_file, (*cheap, *dear))], limit)

    def _importing(self, path: str) -> set[str]:
        """Tests in files that import the module."""
        files = {test.partition("::")[0] for test in self.fixtures}
        if path not in self._importers:
            module = path.removesuffix(".py").replace("/", ".")
            named = re.compile(rf"\b{re.escape(module)}\b")
            self._importers[path] = {
                file for file in files if Path(file).is_file() and named.search(Path(file).read_text(encoding="utf-8"))
            }
        return {test for test in self.fixtures if test.partition("::")[0] in self._importers[path]}

    def _places(self, mutant: Mutant, source: bytes) -> list[int]:
        """The numbers of the mutant's lines in the module as it was traced."""
        now, then = source.decode().splitlines(), self.sources.get(mutant.path, [])
        wanted = range(mutant.line - 1, mutant.last_line)
        if now == then:
            return [line + 1 for line in wanted]
        blocks = SequenceMatcher(None, now, then, autojunk=False).get_matching_blocks()
        return [
            line - block.a + block.b + 1
            for line in wanted
            for block in blocks
            if block.a <= line < block.a + block.size
        ]

    def _affordable(self, groups: list[list[str]], limit: float) -> list[str]:
        chosen: list[str] = []
        files: set[str] = set()
        spent = 0.0
        for group in groups:
            made: set[str] = set()
            for test in group:
                fixtures = self.fixtures.get(test, [])
                cost = self._own(test) + self._making(name for name in fixtures if name not in made)
                prepared = test.partition("::")[0] in files and cost < PREPARED_S
                if chosen and spent + cost > limit and not prepared:
                    continue
                files.add(test.partition("::")[0])
                made.update(fixtures)
                chosen.append(test)
                spent += cost
        return chosen

    def cost(self, test: str) -> float:
        """Seconds of a test with all its fixtures."""
        return self._own(test) + self._making(self.fixtures.get(test, ()))

    def _own(self, test: str) -> float:
        return self.seconds.get(f"t {test}", 0.0)

    def _making(self, fixtures: Iterable[str]) -> float:
        return sum(self.seconds.get(f"f {name}", 0.0) for name in fixtures)

    def _by_file(self, tests: set[str]) -> list[str]:
        """Cheapest first, but all tests of a file together, so that its fixtures are made once."""
        files: dict[str, list[str]] = defaultdict(list)
        for test in sorted(tests, key=lambda test: (self.cost(test), test)):
            files[test.partition("::")[0]].append(test)
        return [*chain.from_iterable(files.values())]


def trace(folder: Path, tests: list[str]) -> None:
    """Run tests under `tests.mutate.tracing`, on two workers. Raises RuntimeError when pytest could not run them.

    Failing tests are accepted: they may fail because of coverage, and `make test` finds the others.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*"):
        old.unlink()
    command = [sys.executable, "-m", "pytest", *WORKERS, "-p", "tests.mutate.tracing", *tests]
    ignored = [f"--ignore={path}" for path in LEFT_OUT]
    status = subprocess.run([*command, *ignored], env=os.environ | {"EYEGRAFT_TRACE": str(folder)}).returncode
    if status not in (0, 1):
        raise RuntimeError(f"pytest ended with status {status}: it ran no tests")


def read(folder: Path, root: Path, sources: dict[str, list[str]]) -> Cover:
    """The map from a folder that `trace` filled, when the modules' lines were `sources`.

    Raises FileNotFoundError for an empty folder, RuntimeError where no test was run.
    """
    workers = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not workers:
        raise FileNotFoundError(f"{folder}: no trace. Run python -m tests.mutate trace")
    cover = Cover()
    users: dict[str, set[str]] = defaultdict(set)  # context -> tests
    for worker in workers:
        cover.seconds |= worker["seconds"]
        cover.fixtures |= worker["fixtures"]
    if not cover.fixtures:
        raise RuntimeError(f"{folder}: no test was traced: pytest could not collect them, see its output above")
    for worker in workers:
        for key, context in worker["contexts"].items():
            users[context] |= _users(key, cover.fixtures)
    _read_lines(cover, users, folder, root, sources)
    return cover


def _users(key: str, fixtures: dict[str, list[str]]) -> set[str]:
    kind, _, name = key.partition(" ")
    return {name} if kind == "t" else {test for test, used in fixtures.items() if name in used}


def _read_lines(
    cover: Cover, users: dict[str, set[str]], folder: Path, root: Path, sources: dict[str, list[str]]
) -> None:
    found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in sorted(folder.glob("coverage.*")):
        data = coverage.CoverageData(basename=str(path))
        try:
            data.read()
        except coverage.exceptions.DataError as error:
            print(f"skipped, the process was killed while writing: {error}")
            continue
        for measured in data.measured_files():
            module = os.path.relpath(measured, root)
            if module not in sources:
                continue
            for line, contexts in data.contexts_by_lineno(measured).items():
                found[module][line] |= {test for name in contexts for test in users[name]}
    for name, lines in found.items():
        cover.lines[name] = {line: sorted(tests) for line, tests in sorted(lines.items())}
        cover.sources[name] = sources[name]


def to_json(cover: Cover) -> dict[str, Any]:
    """A map as a JSON document, in which lines refer to tests by number."""
    numbers = {test: number for number, test in enumerate(cover.fixtures)}
    lines = {
        path: {line: [numbers[test] for test in tests if test in numbers] for line, tests in found.items()}
        for path, found in cover.lines.items()
    }
    return {"seconds": cover.seconds, "fixtures": cover.fixtures, "lines": lines, "sources": cover.sources}


def from_json(document: dict[str, Any]) -> Cover:
    """The map of `to_json`'s document."""
    tests = list(document["fixtures"])
    lines = {
        path: {int(line): [tests[number] for number in numbers] for line, numbers in found.items()}
        for path, found in document["lines"].items()
    }
    return Cover(document["seconds"], document["fixtures"], lines, document["sources"])


def merged(old: Cover, new: Cover) -> Cover:
    """`old` with the test files of `new` replaced; for modules that changed in between, the lines of `new` only."""
    again = {test.partition("::")[0] for test in new.fixtures}
    lines: dict[str, dict[int, list[str]]] = {}
    for path in old.lines.keys() | new.lines.keys():
        before, after = old.lines.get(path, {}), new.lines.get(path, {})
        if path in new.sources and old.sources.get(path) != new.sources[path]:
            before = {}
        unchanged = {
            line: [test for test in tests if test.partition("::")[0] not in again] for line, tests in before.items()
        }
        lines[path] = {
            line: sorted({*unchanged.get(line, ()), *after.get(line, ())}) for line in unchanged.keys() | after.keys()
        }
    fixtures = {test: used for test, used in old.fixtures.items() if test.partition("::")[0] not in again}
    return Cover(old.seconds | new.seconds, fixtures | new.fixtures, lines, old.sources | new.sources)
