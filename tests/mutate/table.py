"""The result as benchmarks/results/mutation.json and as the table of docs/benchmarks/mutation.md."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tests.mutate import scope
from tests.mutate.operators import mutants_of
from tests.soak.table import machine, revision

RESULTS = Path("benchmarks/results/mutation.json")
PAGES = (Path("docs/benchmarks/mutation.md"), Path("docs/benchmarks/mutation.zh.md"))
REASONS = Path("tests/mutate/equal.yaml")
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
COLUMNS = ("name", "path", "line", "scope", "kind", "before", "after", "status", "seconds", "tests")
Row = dict[str, Any]


def write(results: list[Row], command: str) -> int:
    """Write the results and the table of both pages; returns how many survivors have no reason."""
    known = reasons()
    rows = [_row(result, known) for result in results]
    document = {
        "command": command,
        "revision": revision(),
        "machine": machine(),
        "seconds of tests": round(sum(row["seconds"] for row in rows)),
        "mutants": rows,
    }
    RESULTS.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    text = "\n".join([f"`{command}` at {document['revision']}, {_words(machine())}:", "", *_table(rows)])
    for page in PAGES:
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return len([row for row in rows if row["status"] == "survived" and "reason" not in row])


def reasons() -> dict[str, str]:
    """Why a mutant changes no behaviour, by its name."""
    found: dict[str, str] = yaml.safe_load(REASONS.read_text(encoding="utf-8")) or {}
    return found


def unknown_reasons(root: Path = Path()) -> list[str]:
    """Names in equal.yaml that no mutant of the modules in scope has: their code was moved or changed."""
    paths = scope.modules(scope.CORE + scope.OTHERS, root)
    names = {mutant.name for path in paths for mutant in mutants_of(path, (root / path).read_bytes())}
    return [name for name in reasons() if name not in names]


def _row(result: Row, known: dict[str, str]) -> Row:
    row = {key: result[key] for key in COLUMNS}
    if failure := result.get("failure"):
        row["failed"] = failure["test"]
    if row["status"] == "survived" and row["name"] in known:
        row["reason"] = " ".join(known[row["name"]].split())
    return row


def _words(facts: dict[str, Any]) -> str:
    """The machine in one line: CPU, cores and versions."""
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _table(rows: list[Row]) -> list[str]:
    core = [path for path in dict.fromkeys(row["path"] for row in rows) if path in scope.modules(scope.CORE)]
    lines = ["| module | mutants | killed | no change in behaviour | alive |", "|---|---:|---:|---:|---:|"]
    lines.append(_line("**core**", [row for row in rows if row["path"] in core]))
    lines += [_line(f"`{path}`", [row for row in rows if row["path"] == path]) for path in core]
    lines.append(_line("**others**", [row for row in rows if row["path"] not in core]))
    others = sorted({row["path"] for row in rows} - set(core))
    lines += [_line(f"`{path}`", [row for row in rows if row["path"] == path]) for path in others]
    lines.append(_line("**all**", rows))
    survivors = [row for row in rows if row["status"] == "survived"]
    return [*lines, "", "Survivors, and why:", "", *_survivors(survivors)]


def _line(name: str, rows: list[Row]) -> str:
    killed = sum(row["status"] != "survived" for row in rows)
    explained = sum("reason" in row for row in rows)
    share = f"{killed} ({100 * killed / len(rows):.0f} %)"
    return f"| {name} | {len(rows)} | {share} | {explained} | {len(rows) - killed - explained} |"


def _survivors(rows: Iterable[Row]) -> list[str]:
    return [
        f"- `{row['name']}` {row['path']}:{row['line']}: `{_short(row['before'])}` becomes `{_short(row['after'])}`. "
        f"{row.get('reason', '**No reason yet.**')}"
        for row in rows
    ]


def _short(code: str) -> str:
    line = " ".join(code.split())
    return line if len(line) <= 80 else line[:77] + "..."
