"""Constants that were measured on a machine: each is used, complete and in one module, and measured by a command."""

import re
import tokenize
from datetime import date
from pathlib import Path

from benchmarks.constants import MEASURED, record
from llm.machine_constants import machine_constants

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "llm" / "machine_constants.py"
MEASURED_WORDS = re.compile(r"\b(AVX\d*|AMX|us|ms|faster|slower)\b")
ASSIGNED = re.compile(r"^[A-Z][A-Z0-9_]* *(:[^=]+)?= *[\d{(]")


def package_files() -> list[Path]:
    return [path for package in ("llm", "vlm") for path in (ROOT / package).rglob("*.py") if path != HOME]


def measured_elsewhere(source: str) -> list[str]:
    """Numbers bound at module level whose comment, on the line or above it, speaks of a machine's times."""
    lines, found, comment = source.splitlines(), [], ""
    for line in lines:
        if line.startswith("#"):
            comment += line
            continue
        if ASSIGNED.match(line) and MEASURED_WORDS.search(comment + line.partition("#")[2]):
            found.append(line)
        comment = ""
    return found


def test_no_measured_number_is_bound_elsewhere() -> None:
    files = package_files()
    assert len(files) > 100
    found = [f"{path}: {line}" for path in files for line in measured_elsewhere(path.read_text(encoding="utf-8"))]
    assert found == []


def test_a_measured_number_is_seen() -> None:
    assert measured_elsewhere("# 15 took 3 ms on two AVX2 cores.\n# So:\nCALLS = 8192\n") == ["CALLS = 8192"]
    assert measured_elsewhere("LEAST = 4  # two are slower\n") == ["LEAST = 4  # two are slower"]
    assert measured_elsewhere("# Two are slower.\n\nLEAST = 4\n") == []
    assert measured_elsewhere("LEAST = 4  # rows of a table\n") == []


def test_each_constant_is_used_and_says_where_it_comes_from() -> None:
    names = [name for name, _ in machine_constants()]
    assert len(names) == len(set(names)) == 22
    used: set[str] = set()
    for path in package_files():
        with path.open("rb") as file:
            used |= {token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.NAME}
    assert set(names) <= used
    for name, constant in machine_constants():
        assert all((constant.unit, constant.machine, constant.decides, constant.because, constant.again)), name
        assert date.fromisoformat(constant.date) <= date.today(), name


def test_the_command_measures_what_it_is_said_to_measure() -> None:
    here = {name for name, constant in machine_constants() if constant.again == "python -m benchmarks.constants"}
    assert here == MEASURED.keys() - {"CNN_CALL_IMAGES"}
    found = record("SOFTMAX_VECTOR_BYTES", [])
    assert found["value"] == 64 and found["found"] in (16, 32, 64) and len(found["figures"]) == 4
    assert "found" not in record("LOGITS_CHUNK_CUDA", []) and "found" not in record("ATTENTION_BLOCK", ["SOFTMAX_FILL"])
