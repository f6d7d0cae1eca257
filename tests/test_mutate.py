"""`make mutate`: the mutants of a module, the tests they are tried with, and killed and surviving mutants."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutate import __main__, cover, scope, table
from tests.mutate.campaign import Campaign, described
from tests.mutate.cover import Cover
from tests.mutate.operators import compiles, mutants_of

SOURCE = '''"""Kept."""

LIMIT = 3


def total(values: list[float], most: int = 2, *, strict: bool = False) -> float:
    """Kept."""
    assert most > 0, "kept"
    found = 0.0
    for value in zip(values, values, strict=True):
        if value[0] < most and not strict:
            found += value[0] * 2
    if found is None:
        raise ValueError(f"{most + 1}")
    log.write(found)
    return pow(found, -1, mod=abs) if values else round(len(found))


def first(values: list[float]) -> float | None:
    return values.pop()
'''
EXPECTED = {
    ("constant", "3", "4"),
    ("constant", "2", "3"),
    ("constant", "False", "True"),
    ("constant", "0.0", "1.0"),
    ("constant", "0", "1"),
    ("constant", "1", "2"),
    ("condition", "value[0] < most and not strict", "True"),
    ("condition", "value[0] < most and not strict", "False"),
    ("boolean", "value[0] < most and not strict", "((value[0] < most) or (not strict))"),
    ("boolean", "not strict", "bool(strict)"),
    ("comparison", "value[0] < most", "(value[0] <= most)"),
    ("dropped statement", "found += value[0] * 2", "pass"),
    ("arithmetic", "found += value[0] * 2", "found -= value[0] * 2"),
    ("arithmetic", "value[0] * 2", "((value[0]) / (2))"),
    ("condition", "found is None", "True"),
    ("condition", "found is None", "False"),
    ("comparison", "found is None", "(found is not None)"),
    ("dropped raise", 'raise ValueError(f"{most + 1}")', "pass"),
    ("dropped call", "log.write(found)", "pass"),
    ("condition", "values", "True"),
    ("condition", "values", "False"),
    ("swapped arguments", "pow(found, -1, mod=abs)", "pow(-1, found, mod=abs)"),
    ("dropped argument", "pow(found, -1, mod=abs)", "pow(found, -1)"),
    ("arithmetic", "-1", "(1)"),
    ("dropped call", "round(len(found))", "(len(found))"),
    ("return", "return values.pop()", "return None"),
}


def test_mutants_of_every_kind() -> None:
    """Docstrings, types, assertions, error messages and `strict=` are not changed."""
    source = SOURCE.encode()
    found = mutants_of("m.py", source)
    assert {(mutant.kind, mutant.before, mutant.after) for mutant in found} == EXPECTED
    for mutant in found:
        assert compiles(mutant, source) and mutant.applied(source) != source
        lines = mutant.applied(source).decode().splitlines()
        assert lines[: mutant.line - 1] == SOURCE.splitlines()[: mutant.line - 1]
    assert len({mutant.name for mutant in found}) == len(found)


def test_lines_before_a_mutant_do_not_change_its_name() -> None:
    before = {mutant.name for mutant in mutants_of("m.py", SOURCE.encode())}
    assert {mutant.name for mutant in mutants_of("m.py", ("X = a\n" + SOURCE).encode())} == before


def test_modules_in_scope_exist_and_draws_are_reproducible() -> None:
    assert len(scope.modules(scope.CORE)) == len(scope.CORE)
    assert not set(scope.modules(scope.CORE)) & set(scope.modules(scope.OTHERS))
    path = "llm/forward/chunked_loss.py"
    source = Path(path).read_bytes()
    assert scope.sampled(path, source, 3) == scope.sampled(path, source, 3)
    assert set(scope.sampled(path, source, 3)) <= set(scope.sampled(path, source, 5))
    with pytest.raises(FileNotFoundError, match="llm/gone"):
        scope.modules(("llm/gone.py",))


def test_cheap_tests_and_tests_of_the_line_come_first() -> None:
    source = b"a = 1\nb = 2\n"
    first, second = mutants_of("m.py", source)
    seconds = {"t x.py::slow": 5.0, "t x.py::quick": 1.0, "t y.py::other": 0.1, "f x::made": 3.0}
    fixtures = {"x.py::slow": ["x::made"], "x.py::quick": ["x::made"], "y.py::other": []}
    lines = {"m.py": {1: ["x.py::slow", "x.py::quick"], 2: ["y.py::other"]}}
    tests = Cover(seconds, fixtures, lines, {"m.py": source.decode().splitlines()})
    assert tests.tests_of(first, source, 100) == ["y.py::other", "x.py::quick", "x.py::slow"], "a cheap test first"
    assert tests.tests_of(first, source, 6) == ["y.py::other", "x.py::quick"]
    assert tests.tests_of(first, source, 9.2) == ["y.py::other", "x.py::quick", "x.py::slow"], "a fixture counts once"
    assert tests.tests_of(first, source, 100, ["x.py::slow"])[0] == "x.py::slow", "it killed a mutant here before"
    assert tests.tests_of(second, source, 0.1) == ["y.py::other"]
    moved = b"# new\n" + source
    assert tests.tests_of(mutants_of("m.py", moved)[1], moved, 0.1) == ["y.py::other"], "moved lines are found"
    assert cover.from_json(cover.to_json(tests)) == tests


def test_a_new_trace_replaces_the_test_files_it_has() -> None:
    old = Cover(
        {"t x.py::a": 1.0, "t y.py::b": 1.0},
        {"x.py::a": [], "y.py::b": []},
        {"m.py": {1: ["x.py::a", "y.py::b"]}, "changed.py": {1: ["y.py::b"]}, "other.py": {4: ["y.py::b"]}},
        {"m.py": ["m"], "changed.py": ["old"], "other.py": ["o"]},
    )
    new = Cover(
        {"t x.py::new": 2.0},
        {"x.py::new": []},
        {"m.py": {2: ["x.py::new"]}, "changed.py": {3: ["x.py::new"]}},
        {"m.py": ["m"], "changed.py": ["new"]},
    )
    both = cover.merged(old, new)
    assert both.lines == {
        "m.py": {1: ["y.py::b"], 2: ["x.py::new"]},
        "changed.py": {3: ["x.py::new"]},
        "other.py": {4: ["y.py::b"]},
    }
    assert set(both.fixtures) == {"y.py::b", "x.py::new"}
    assert both.sources == {"m.py": ["m"], "changed.py": ["new"], "other.py": ["o"]}


def test_a_mutant_is_killed_if_a_test_fails_and_survives_otherwise(tmp_path: Path) -> None:
    for name in ("tests/__init__.py", *(f"tests/mutate/{file.name}" for file in Path("tests/mutate").glob("*.py"))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, tmp_path / name)
    (tmp_path / "sums.py").write_text("def add(a, b):\n    return a + b\n\n\ndef seen(a):\n    return a < 3\n")
    (tmp_path / "tests/test_sums.py").write_text(
        "import subprocess, sys\nfrom sums import add, seen\n\n\ndef test_add():\n"
        "    asked = [sys.executable, '-c', 'from sums import add; print(add(2, 3))']\n"
        "    assert subprocess.run(asked, capture_output=True, text=True).stdout == '5\\n'\n\n\n"
        "def test_seen():\n    assert seen(1) and not seen(9)\n"
    )
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    campaign = Campaign(tmp_path, 1, 60, ("pytest",))
    campaign.folder.mkdir()
    tests = ["tests/test_sums.py::test_add", "tests/test_sums.py::test_seen"]
    lines = (tmp_path / "sums.py").read_text().splitlines()
    known = Cover({}, {test: [] for test in tests}, {"sums.py": {2: tests[:1], 6: tests[1:]}}, {"sums.py": lines})
    campaign.save_map(known)
    rows = campaign.run({"sums.py": 99}, seed=1)
    assert {(row["after"], row["status"]) for row in rows} == {
        ("((a) - (b))", "killed"),
        ("(a <= 3)", "survived"),  # 3 itself is not tried
        ("4", "survived"),
    }
    failed = next(row["failure"] for row in rows if row["after"] == "((a) - (b))")
    assert failed["test"] == tests[0], "a process that a test starts runs the mutant too"
    assert (tmp_path / "sums.py").read_text().splitlines() == lines
    before = campaign.tried_path.read_text()
    again = campaign.run({"sums.py": 99}, seed=1)
    assert again == rows and campaign.tried_path.read_text() == before, "known results are not tried again"
    assert "survived" in described(again[-1])


def test_a_trace_without_tests_is_refused(tmp_path: Path) -> None:
    """As pytest leaves it when its workers collect different tests, because a file changed meanwhile."""
    (tmp_path / "gw0.json").write_text('{"seconds": {}, "fixtures": {}, "contexts": {}}')
    with pytest.raises(RuntimeError, match="no test was traced"):
        cover.read(tmp_path, tmp_path, {})


def test_reasons_for_mutants_that_do_not_exist_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "llm/data/packing.py"
    mutant = mutants_of(path, Path(path).read_bytes())[0]
    monkeypatch.setattr(table, "reasons", lambda: {mutant.name: "no change", "0123456789": "of older code"})
    assert table.unknown_reasons() == ["0123456789"]


@pytest.mark.parametrize(("names", "status"), [([], 1), (["llm/data/packing.py"], 0)])
def test_unknown_reasons_fail_a_complete_run_only(
    names: list[str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mutate", "run", *names])
    monkeypatch.setattr(table, "unknown_reasons", lambda: ["0123456789"])
    monkeypatch.setattr(table, "write", lambda results, command: 0)
    monkeypatch.setattr(Campaign, "run", lambda *_: [])
    monkeypatch.setattr(Campaign, "trace", lambda *_: None)
    try:
        __main__.main()
        found = 0
    except SystemExit as end:
        found = int(end.code or 0)
    assert found == status
    assert "0123456789: no mutant has this name" in capsys.readouterr().out
