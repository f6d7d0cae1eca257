"""The table of evaluation programs beside `eyegraft eval`, from the result of `make evaluators`."""

import json
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "evaluators.json"
HEAD = (
    "| program | file | questions | failed requests | equal scores | equal answers | different answers | its score "
    "| `eyegraft eval` |"
)


def evaluators() -> str:
    """One row a program and file: on how many questions scores and answers are equal, and both mean scores.

    `different answers`: how many ours are, since answers that are all the same prove little.
    """
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    rows = [_row(program, file) for program in found["programs"] for file in program["files"]]
    machine = found["machine"]
    made = f"`{found['command']}`, {found['date']}, {machine['cpu']}, {machine['cores']} cores."
    return "\n".join([made, "", HEAD, "|---|---|---|---|---|---|---|---|---|", *rows])


def _row(program: dict[str, Any], file: dict[str, Any]) -> str:
    cells = (
        f"{program['program']} ({program['package']} {program['version']})", f"`{file['file']}`", file["questions"],
        f"{program['failed_requests']} of {program['requests']}", file["same_score"], file["same_text"],
        file["distinct"], f"{file['theirs']:.4f}", f"{file['ours']:.4f}",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"
