"""The tables of docs/benchmarks/speed.md, generated from the result files."""

import json
from pathlib import Path
from typing import Any

from benchmarks.entries import OURS, TUNED, contenders
from benchmarks.folders import TOWERS
from benchmarks.work import WORKS

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
NAMES = {"vit": "ViT", "lite0": "Lite0"}
SHAPE_NAMES = {"smolvlm": "SmolVLM's shape", "qwen2_5_vl": "Qwen2.5-VL's shape"}
ABSENT = "not measured"
Result = dict[str, Any]
Row = dict[str, Any]


def write_between(file: Path, text: str) -> None:
    """Replace the text between the file's marks. Raises SystemExit if they are missing or out of order."""
    before = file.read_text(encoding="utf-8")
    head, begin, rest = before.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{file}: no {BEGIN} with {END} after it. Put both where the table belongs")
    file.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")


def read_results(folder: Path) -> tuple[Result, Result]:
    """The results of the CPU and of the GPU, each empty if its file does not exist."""
    files = folder / "cpu.json", folder / "gpu.json"
    cpu, gpu = (json.loads(file.read_text(encoding="utf-8")) if file.exists() else {} for file in files)
    return cpu, gpu


def markdown(cpu: Result, gpu: Result) -> str:
    """Speeds by work, finetunes of VLMs that exist, ablations, and how the figures were measured."""
    parts = ["\n".join([*_head(), *_side("CPU", cpu), *_side("GPU", gpu)])]
    parts += ["\n".join(_ready(name, result)) for name, result in (("CPU", cpu), ("GPU", gpu)) if _finetunes(result)]
    parts += ["\n".join(_ablations(name, result)) for name, result in (("CPU", cpu), ("GPU", gpu)) if _off(result)]
    parts += [_made_with(name, result) for name, result in (("CPU", cpu), ("GPU", gpu)) if result]
    return "\n\n".join(parts)


def _head() -> list[str]:
    titles = [f"{work.title} ({_unit(work.stage)} a second)" for work in WORKS.values()]
    return [_line("", *titles), "|" + "---|" * (1 + len(titles))]


def _unit(stage: str) -> str:
    return "tokens" if stage == "sft" else "samples"


def _side(device: str, result: Result) -> list[str]:
    """One line per contender and tower, then memory and the share of the peak; `not measured` without figures."""
    lines = []
    for tower in TOWERS:
        names = [entry.name for entry in contenders(WORKS["questions"], tower == TOWERS[0])]
        found = [[_row(result, "peers", work, tower, name) for work in WORKS] for name in names]
        title = f"{device}, {NAMES[tower]}"
        for name, rows in zip(names, found, strict=True):
            part = [name in (entry.name for entry in contenders(work, True)) for work in WORKS.values()]
            cells = [_speed(row) if takes_part else "-" for row, takes_part in zip(rows, part, strict=True)]
            lines.append(_line(f"{title}: {name}", *cells))
        if any(row for rows in found for row in rows):
            memory = [_memory(list(column)) for column in zip(*found, strict=True)]
            lines.append(_line(f"{title}: peak GiB, in this order", *memory))
            lines.append(_line(f"{title}: {OURS}, share of the peak", *map(_share, found[0])))
    return lines


def _row(result: Result, kind: str, work: str, tower: str, name: str) -> Row:
    """The result row, empty if it was not measured. Text has no tower and is listed with the first."""
    wanted = (kind, work, "" if WORKS[work].stage == "sft" and tower == TOWERS[0] else tower, name)
    rows = [row for row in result.get("rows", []) if (row["kind"], row["work"], row["tower"], row["who"]) == wanted]
    return rows[0] if rows else {}


def _speed(row: Row) -> str:
    if not row:
        return ABSENT
    speed = row["per_s"]
    digits = 0 if speed["median"] >= 100 else 2
    text = f"{speed['median']:.{digits}f} ({speed['min']:.{digits}f} to {speed['max']:.{digits}f})"
    return text if row["who"] == OURS else f"{text}: {row['ours_is_faster']:.1f}x"


def _memory(rows: list[Row]) -> str:
    return ", ".join(f"{row['peak_gib']:.1f}" if row else "-" for row in rows) if any(rows) else ABSENT


def _share(row: Row) -> str:
    return f"{row['share_of_peak']:.0%} of {row['peak_tflops']:.2f} TFLOP/s {row['peak_dtype']}" if row else ABSENT


def _finetunes(result: Result) -> list[Row]:
    """The result rows of VLMs that exist."""
    return [row for row in result.get("rows", []) if row["kind"] == "ready"]


def _ready(device: str, result: Result) -> list[str]:
    """One line per shape and trainer; memory is also given as a share of the trainer's."""
    rows = _finetunes(result)
    head = [
        f"{device}, model.vlm, {WORKS[rows[0]['work']].title}",
        "samples a second",
        "peak GiB",
        "positions per token",
    ]
    lines, ours = [_line(*head), "|" + "---|" * len(head)], rows[0]
    for row in rows:  # Eyegraft is the first row of a group
        ours = row if row["who"] == OURS else ours
        memory = f"{row['peak_gib']:.1f}"
        memory += "" if row is ours else f": {OURS} takes {ours['peak_gib'] / row['peak_gib']:.2f} of it"
        lines.append(
            _line(f"{SHAPE_NAMES[row['tower']]}: {row['who']}", _speed(row), memory, f"{row['rows_a_token']:.2f}")
        )
    return lines


def _off(result: Result) -> list[Row]:
    """The result rows of ablations."""
    return [row for row in result.get("rows", []) if row["kind"] == "ablation"]


def _ablations(device: str, result: Result) -> list[str]:
    """One line per saving that was off, with Eyegraft's speed in the same turns; the factor is their quotient."""
    rows = _off(result)
    work, tower = WORKS[rows[0]["work"]], NAMES[rows[0]["tower"]]
    head = [
        f"{device}, {tower}, {work.title}",
        f"with the change, {_unit(work.stage)} a second",
        f"{OURS} in the same turns",
        f"{OURS} is",
        "peak GiB, with and without the change",
        "positions per token, with and without the change",
    ]
    lines, ours = [_line(*head), "|" + "---|" * len(head)], rows[0]
    for row in rows:  # Eyegraft is the first row of a group
        if row["who"] == OURS:
            ours = row
            continue
        speeds = (_speed(row).partition(":")[0], _speed(ours), f"{row['ours_is_faster']:.2f}x")
        both = [f"{row[key]:.2f}, {ours[key]:.2f}" for key in ("peak_gib", "rows_a_token")]
        lines.append(_line(row["who"], *speeds, *both))
    return lines


def _made_with(device: str, result: Result) -> str:
    """Command, machine, versions and dtype, and the figures that belong to no single row."""
    here, waits = result["machine"], [row["input_wait"] for row in result["rows"] if "input_wait" in row]
    hardware = f"{here['gpu']}, {here['cpu']}" if "gpu" in here else f"{here['cores']} cores of {here['cpu']}"
    hardware += f" (bf16 units: {here['bf16_units']})" if "bf16_units" in here else ""
    versions = ", ".join(f"{name} {here[name]}" for name in ("python", "torch", "transformers", "peft", "trl"))
    days = sorted({row["day"] for row in result["rows"]})
    commands = " and ".join(f"`{command}`" for command in dict.fromkeys(row["command"] for row in result["rows"]))
    lines = [
        f"{device}: {commands}, {' and '.join(days)}, {result['seconds'] / 60:.0f} minutes; {hardware}; {versions}."
    ]
    lines.append(f"dtype: {result['dtype_note']}.")
    lines += [f"Waiting for input: {share:.1%} of {OURS}'s time." for share in waits]
    if packed := result.get("packing"):
        lines.append(
            f"`fill` on {packed['samples']:,} texts: the lower bound on packs is {packed['of_possible']:.2%} "
            "of the packs planned."
        )
    lines.append(
        f"Median (range) of the steps; a factor is {OURS}'s median divided by the entry's; {TUNED}: no recomputation, "
        "text packed, micro-batches of up to 8 rows."
    )
    if result.get("left_out"):
        lines.append(f"Left out for time: {', '.join(result['left_out'])}.")
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
