"""The arithmetic of the benchmarks: counts, groups that are left out, result rows, tables and data."""

import json
import re
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn
from transformers import LlamaConfig

from benchmarks import bench, scale, table
from benchmarks.entries import ABLATIONS, AT_ONCE, LINEARS, OURS, TUNED, Entry, Group, contenders, groups
from benchmarks.figures import check_samples, result_rows
from benchmarks.folders import SHAPES, TOWERS
from benchmarks.gate import Contender
from benchmarks.machine import installed
from benchmarks.ours import StepCounts, attended_pairs, recipe, run_config
from benchmarks.packed import fullness, rated
from benchmarks.peak import best_seconds, faster, product, training
from benchmarks.work import WORKS, _one_question_each, lengths
from llm.attention.layout import Span, plan_attention
from llm.config.schema import RunConfig
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from tests.llm.tokenizers import bpe_tokenizer
from vlm.config import SCHEMAS
from vlm.ready_config import ReadyRunConfig

FACTS = {"dtype": "fp32", "command": "python -m benchmarks.bench"}


def test_each_question_becomes_a_record_with_its_image() -> None:
    turns = [("human", "<image>\na?"), ("gpt", "1"), ("human", "b?"), ("gpt", "2")]
    record = {"id": "7", "image": "7.png", "conversations": [{"from": who, "value": text} for who, text in turns]}
    rows = _one_question_each(record)
    assert [row["conversations"][0]["value"] for row in rows] == ["<image>\na?", "<image>\nb?"]
    assert [row["conversations"][1]["value"] for row in rows] == ["1", "2"]
    assert {row["image"] for row in rows} == {"7.png"} and len({row["id"] for row in rows}) == 2


def test_groups_fit_the_memory_and_the_most_important_come_first() -> None:
    found = groups(list(WORKS), list(TOWERS))
    peers = [(group.work.name, group.tower) for group in found if group.kind == "peers"]
    first = [("questions", "vit"), ("captions", "vit"), ("turns", "vit"), ("text", "")]
    assert peers == [*first, ("questions", "lite0"), ("captions", "lite0"), ("turns", "lite0")]
    assert [len(group.entries) for group in found if group.kind == "peers"] == [5, 4, 4, 4, 2, 2, 2]
    assert all(len(group.entries) <= AT_ONCE and group.entries[0].name == OURS for group in found)
    off = [entry for group in found if group.kind == "ablation" for entry in group.entries[1:]]
    assert off == list(ABLATIONS) and [group.kind for group in found[4:6]] == ["ablation", "ablation"]
    for group in found:
        pair = [entry for entry in group.entries if entry.name in (OURS, TUNED)]
        assert all(entry.blocks >= 2 for entry in pair), "blocks alternate"


@pytest.mark.parametrize("group", groups(list(WORKS), list(TOWERS)), ids=lambda group: f"{group.work.name}{group.kind}")
def test_recipes_are_valid_and_micro_batches_divide_batches(group: Group, tmp_path: Path) -> None:
    work = group.work
    spec = {"work": asdict(work), "llm": "x", "tower": "y", "image_size": 224, "data": "d", "images": "", **FACTS}
    spec |= {"pack_tokens": 768}
    for entry in group.entries:
        steps = 1 + entry.blocks * entry.steps
        if entry.module == "ours":
            config = SCHEMAS[work.stage].model_validate(recipe(spec | bench.entry_settings(entry, tmp_path)))
            assert config.name == work.name and steps <= work.steps
            assert isinstance(config, RunConfig) and config.train.pack_tokens == entry.train.get("pack_tokens", 768)
        else:
            assert work.batch % entry.micro_batch == 0 and steps + 1 <= work.steps


def test_vlms_that_exist_are_finetuned_on_the_questions(tmp_path: Path) -> None:
    found = groups(list(WORKS), list(TOWERS), list(SHAPES))[-len(SHAPES) :]
    assert [(group.kind, group.work.name, group.tower) for group in found] == [
        ("ready", "questions", "smolvlm"),
        ("ready", "questions", "qwen2_5_vl"),
    ]
    assert all([entry.name for entry in group.entries] == [OURS, TUNED] for group in found)
    spec = {"work": asdict(WORKS["questions"]), "llm": "x", "data": "d", "images": "", **FACTS, "pack_tokens": 768}
    config = run_config(spec | {"vlm": "folder"} | bench.entry_settings(found[0].entries[0], tmp_path))
    assert isinstance(config, ReadyRunConfig) and config.model.llm == "folder"
    assert config.tune.tower == "frozen" and config.data.template == "auto"
    assert not re.fullmatch(LINEARS, "model.visual.blocks.0.mlp.gate_proj")
    assert not re.fullmatch(LINEARS, "model.vision_model.encoder.layers.0.self_attn.q_proj")
    assert re.fullmatch(LINEARS, "model.text_model.layers.0.self_attn.q_proj")


def test_a_contender_steps_on_request_and_waiting_does_not_count(tmp_path: Path) -> None:
    process = Contender("peak", {"dtype": "fp32"}, tmp_path / "peak")
    assert "flops_per_s" not in process.receive(), "imported only"
    first = process.step()
    time.sleep(0.5)
    asked = time.perf_counter()
    second = process.step()
    answered = time.perf_counter() - asked
    process.end()
    assert first["flops_per_s"] > 0 and second["peak_gib"] > 0
    assert 0.5 <= second["seconds"] <= answered, "the pause counts in no step"


DYING = """#!/bin/sh
[ $# = 5 ] && [ "$1 $2" = "-m benchmarks.peers" ] && [ "$(cat "$3")" = '{"trainer": "trl"}' ] || exit 9
echo '{"seconds": 1}' >"/dev/fd/$5"
read -r request <"/dev/fd/$4"
echo "$request: no room for the step" >&2
exit 7
"""


def test_the_log_of_a_contender_that_dies_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose module does not exist dies before its first reply; another, a shell script here, within a step."""
    process = Contender("no_such_module", {}, tmp_path / "missing")
    with pytest.raises(
        SystemExit, match=r"missing/log.txt: ended with 1:\n.*No module named benchmarks.no_such_module"
    ):
        process.receive()
    python = tmp_path / "python"
    python.write_text(DYING)
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    process = Contender("peers", {"trainer": "trl"}, tmp_path / "dying")
    assert process.receive() == {"seconds": 1}
    with pytest.raises(SystemExit, match=r"dying/log.txt: ended with 7:\ngo: no room for the step$"):
        process.step()


def test_operations_are_those_that_every_trainer_needs() -> None:
    frozen, head = nn.Linear(8, 4, bias=False).requires_grad_(False), nn.Linear(8, 100, bias=False)
    llm: Any = nn.ModuleDict(
        {"body": frozen, "adapter": nn.Linear(8, 2, bias=False), "head": head.requires_grad_(False)}
    )
    whole: Any = nn.Module()
    whole.llm = llm
    llm.get_output_embeddings = lambda: head
    llm.config = LlamaConfig(hidden_size=8, num_attention_heads=2, head_dim=4, num_hidden_layers=3)
    count = StepCounts(whole)
    assert count.flops_per_token == 4 * 32 + 6 * 16, (
        "forward and the input's gradient; the weight's only where it trains"
    )
    assert count.flops_per_target == 4 * 800
    assert count.flops_per_pair == 3 * 2 * (2 * 4) * 2 * 3, "layers, heads, both products; forward and two gradients"
    spans = [Span(0, 3), Span(3, 2, ((0, 3),)), Span(5, 4)]
    assert attended_pairs(plan_attention(spans, 9).lengths) == (1 + 2 + 3) + (4 + 5) + (1 + 2 + 3 + 4)
    llm["layers"] = nn.ModuleList(nn.ModuleDict({"mlp": nn.ModuleDict({"up": nn.Linear(3, 5)})}) for _ in range(11))
    deeper = StepCounts(whole)
    assert deeper.flops_per_token == count.flops_per_token + 10 * 6 * 15, "ten layers of eleven"
    assert deeper.flops_per_target == count.flops_per_target + 6 * 15, (
        "after the last attention only positions with a target count"
    )


def test_a_product_takes_its_fastest_round_without_the_first() -> None:
    naps = iter((0.0, 0.05, 0.02, 0.05))
    seconds = best_seconds(lambda: time.sleep(next(naps)), times=1, within=0.1)
    assert 0.02 <= seconds < 0.05, "neither the first, which would be shortest, nor the slow ones"
    assert best_seconds(lambda: time.sleep(0.02), times=1, within=0.0) >= 0.02, "at least one round"


def test_the_faster_dtype_is_measured_forward_and_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    assert faster({"bf16": 2.0, "fp32": 1.0}) == "bf16" and faster({"bf16": 1.0, "fp32": 2.0}) == "fp32"
    assert product("fp32", "cpu", 64) > 0
    rounds = iter((1.0, 3.0))
    monkeypatch.setattr("benchmarks.peak.best_seconds", lambda *_: next(rounds))
    assert training("bf16", "cpu", 64) == 4 * 64**3 / 4, "2 n^3 each way, in 1 + 3 seconds"


HELD = """
import numpy as np
from llm.train.process_memory import resident_peak_gib
before = resident_peak_gib()
held = np.ones(2**26, np.float64)  # half a GiB
print(resident_peak_gib() - before)
del held
print(resident_peak_gib() - before)
"""


def test_peak_memory_stays_after_memory_is_freed() -> None:
    """In a new process: an earlier peak of this one could exceed half a GiB."""
    printed = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True).stdout
    allocated, freed = map(float, printed.split())
    assert 0.4 < allocated < 0.7 and freed > 0.4


def test_a_missing_package_is_no_error() -> None:
    assert installed("torch")[0].isdigit() and installed("no-such-package-anywhere") == "not installed"


def step_of(samples: int, seconds: float, gib: float, **more: float) -> dict[str, float]:
    """The facts of a step: ten tokens per sample, padded to eleven."""
    return {
        "samples": samples,
        "tokens": 10 * samples,
        "rows": 11 * samples,
        "seconds": seconds,
        "peak_gib": gib,
    } | more


def test_result_rows_hold_ratios_of_medians_and_shares_of_the_peak() -> None:
    group = Group("peers", WORKS["questions"], "vit", contenders(WORKS["questions"], False))
    # The machine was half as fast after the second step, whose share of the peak is therefore not lower.
    paces = ((1.0, 1e10), (2.0, 5e9), (1.0, 2e10))
    ours = [step_of(8, seconds, 1.0, rows=40, flops=5e9, best=best) for seconds, best in paces]
    steps = {OURS: ours, TUNED: [step_of(8, 8.0, 2.0), step_of(8, 16.0, 3.0)]}
    rows = result_rows(group, steps, "fp32", FACTS)
    assert [row["ours_is_faster"] for row in rows] == [1.0, 10.67]
    assert (rows[0]["share_of_peak"], rows[0]["peak_tflops"], rows[0]["peak_dtype"]) == (0.5, 0.01, "fp32")
    assert (rows[0]["rows_a_token"], rows[1]["rows_a_token"]) == (0.5, 1.1), "a shared prefix, and padding"
    assert rows[1]["per_s"] == {"median": 0.75, "min": 0.5, "max": 1.0} and rows[1]["peak_gib"] == 3.0
    assert all(row["dtype"] == "fp32" and row["samples_a_step"] == 8 for row in rows)
    assert "share_of_peak" not in rows[1] and "note" not in rows[1]


def test_packed_text_is_compared_by_tokens_with_a_note() -> None:
    group = Group("peers", WORKS["text"], "", contenders(WORKS["text"], False))
    steps = {OURS: [step_of(4, 1.0, 1.0, flops=1e9, best=1e10)], TUNED: [step_of(5, 2.0, 1.0), step_of(7, 2.0, 1.0)]}
    rows = result_rows(group, steps, "bf16", FACTS)
    assert rows[1]["unit"] == "tokens" and rows[1]["per_s"]["median"] == 30 and rows[1]["samples_a_step"] == 6
    assert "compare tokens" in rows[1]["note"]


def test_a_step_with_another_number_of_samples_is_refused() -> None:
    check_samples(Entry("TRL"), {"samples": 32}, 32)
    check_samples(Entry(TUNED, packs=True), {"samples": 5}, 4)
    with pytest.raises(AssertionError, match="TRL trained 24 samples in a step, not 32"):
        check_samples(Entry("TRL"), {"samples": 24}, 32)


def result(works: tuple[str, ...] = ("questions",)) -> dict[str, Any]:
    """Results of Eyegraft, tuned TRL, ten times slower, and an ablation, three times slower."""
    rows: list[dict[str, Any]] = []
    for name in works:
        work = WORKS[name]
        tower = "" if work.stage == "sft" else "vit"
        group = Group("peers", work, tower, contenders(work, False))
        steps = {OURS: [step_of(work.batch, 1.0, 1.0, flops=5e9, best=1e10)], TUNED: [step_of(work.batch, 10.0, 2.5)]}
        rows += result_rows(group, steps, "fp32", FACTS)
    off = Group("ablation", WORKS["questions"], "vit", (Entry(OURS), ABLATIONS[0]))
    steps = {
        OURS: [step_of(32, 1.0, 1.0, flops=5e9, best=1e10)],
        ABLATIONS[0].name: [step_of(32, 3.0, 1.0, flops=5e9, best=1e10)],
    }
    rows += result_rows(off, steps, "fp32", FACTS)
    rows[0]["input_wait"] = 0.001
    versions = dict.fromkeys(("python", "torch", "transformers", "peft", "trl"), "1.2")
    here = {"cpu": "Abacus", "cores": 2, **versions}
    facts = {"seconds": 600, "dtype_note": "fp32 is the faster here", "left_out": ["turns lite0 peers"]}
    return {"machine": here, **facts, "packing": fullness(np.array([1, 2, 3]), 3), "rows": rows}


def cell(speed: float) -> str:
    """Median and range of a constant speed."""
    return f"{speed:.2f} ({speed:.2f} to {speed:.2f})"


def test_the_table_has_a_part_for_vlms_that_exist() -> None:
    found = result()
    group = Group("ready", WORKS["questions"], "smolvlm", contenders(WORKS["questions"], False))
    steps = {OURS: [step_of(64, 1.0, 1.5, flops=5e9, best=1e10)], TUNED: [step_of(64, 4.0, 3.0)]}
    assert "model.vlm" not in table.markdown(found, {})
    found["rows"] += result_rows(group, steps, "fp32", FACTS)
    lines = table.markdown(found, {}).splitlines()
    assert f"| SmolVLM's shape: Eyegraft | {cell(64)} | 1.5 | 1.10 |" in lines
    assert f"| SmolVLM's shape: TRL, tuned | {cell(16)}: 4.0x | 3.0: Eyegraft takes 0.50 of it | 1.10 |" in lines


def test_the_table_holds_the_results_and_names_what_was_not_measured() -> None:
    lines = table.markdown(result(), {}).splitlines()
    ours, tuned = WORKS["questions"].batch, WORKS["questions"].batch / 10
    assert f"| CPU, ViT: Eyegraft | {cell(ours)} | not measured | not measured | not measured |" in lines
    assert any(line.startswith(f"| CPU, ViT: TRL, tuned | {cell(tuned)}: 10.0x | not") for line in lines)
    assert any(line.startswith("| CPU, ViT: peak GiB, in this order | 1.0, 2.5, -, -, - |") for line in lines)
    assert any("share of the peak | 50% of 0.01 TFLOP/s fp32 | not measured | not" in line for line in lines)
    both = f"{cell(32 / 3)} | {cell(32)} | 3.00x"
    assert f"| no folding | {both} | 1.00, 1.00 | 1.10, 1.10 |" in lines
    gpu = [line for line in lines if line.startswith("| GPU")]
    assert len(gpu) == 7 and all(line.count("not measured") + line.count("| -") == 4 for line in gpu)
    assert sum("| -" in line for line in gpu) == 1, "large micro-batches, where a step is more than 8 rows"
    page = "\n".join(lines)
    for fact in (
        "`python -m benchmarks.bench`",
        "2 cores of Abacus",
        "torch 1.2",
        "trl 1.2",
        "fp32 is the faster",
        "10 m",
    ):
        assert fact in page
    assert "Waiting for input: 0.1%" in page and "Left out for time: turns lite0 peers" in page
    assert "on 3 texts: the lower bound on packs is 100.00%" in page
    cells = {line.count("|") for line in lines if line.startswith("|") and "Eyegraft is" not in line}
    assert cells >= {6}, "each line has a cell per work and its name"


def test_each_factor_is_the_quotient_of_two_numbers_in_its_line() -> None:
    """On the committed results, whose two groups were measured at different times and speeds of Eyegraft."""
    lines = table.markdown(*table.read_results(bench.RESULTS)).splitlines()
    start = next(number for number, line in enumerate(lines) if f"{OURS} in the same turns" in line)
    factors = [line.split(" | ") for line in lines[start + 2 : start + 2 + len(ABLATIONS)]]
    assert [cells[0].removeprefix("| ") for cells in factors] == [entry.name for entry in ABLATIONS]
    for _, changed, ours, factor, *_ in factors:
        quotient = float(ours.split()[0]) / float(changed.split()[0])
        assert float(factor.removesuffix("x")) == pytest.approx(quotient, abs=0.006)
    assert len({ours for _, _, ours, *_ in factors}) == 2


def test_a_gpu_has_its_own_lines() -> None:
    card = result(("questions", "text"))
    card["machine"] |= {"gpu": "Blitter"}
    lines = table.markdown(result(), card).splitlines()
    questions, text = cell(WORKS["questions"].batch), cell(10 * WORKS["text"].batch)
    assert f"| GPU, ViT: Eyegraft | {questions} | not measured | not measured | {text} |" in lines
    assert any(line.startswith("GPU: `python") and "Blitter, Abacus" in line for line in lines)


def test_only_the_text_between_the_marks_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nbehind\n", encoding="utf-8")
    table.write_between(file, "new")
    table.write_between(file, "newer")
    assert file.read_text(encoding="utf-8") == "before\n<!-- bench -->\nnewer\n<!-- /bench -->\nbehind\n"
    file.write_text("<!-- /bench --> <!-- bench -->", encoding="utf-8")
    with pytest.raises(SystemExit, match="no <!-- bench --> with"):
        table.write_between(file, "new")


def test_results_of_other_works_are_kept_for_the_same_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "RESULTS", tmp_path)
    monkeypatch.setattr(bench, "machine", lambda: {"cpu": "Abacus"})
    rows = [
        {"kind": "peers", "work": name, "tower": "vit", "who": OURS, "day": day} for name, day in ("a1", "b1", "b2")
    ]
    bench.write(rows[:2], {"seconds": 1})
    bench.write(rows[2:], {"seconds": 2})
    (file,) = tmp_path.glob("*.json")
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert [(row["work"], row["day"]) for row in kept["rows"]] == [("a", "1"), ("b", "2")] and kept["seconds"] == 2
    monkeypatch.setattr(bench, "machine", lambda: {"cpu": "Slide rule"})
    bench.write(rows[2:], {"seconds": 3})
    assert len(json.loads(file.read_text(encoding="utf-8"))["rows"]) == 1


def test_a_group_that_would_end_after_the_limit_is_left_out_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(bench, "choose_dtype", lambda _: {"dtype": "fp32", "peak_dtype": "fp32"})
    clock, taken = [5.0], []
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def compare(group: Group, *_: Any) -> list[dict[str, Any]]:
        clock[0] += 200 if group.tower == "vit" else 100
        taken.append(group.work.name)
        return []

    monkeypatch.setattr(bench, "compare", compare)
    bench.measure(tmp_path, groups(["captions", "turns", "text"], ["vit", "lite0"]), limit=650, pack_tokens=2048)
    (file,) = (tmp_path / "results").glob("*.json")
    assert taken == ["captions", "turns", "text", "captions"], "text takes 100 s"
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["left_out"] == ["turns lite0 peers"], "600 s are over, and it would take 100"
    assert found["seconds"] == 600


def test_fullness_is_relative_to_the_lower_bound() -> None:
    assert rated(np.array([3, 3]), 4, 2) == {
        "samples": 2, "budget": 4, "packs": 2, "at_least": 2, "martello_toth": 2, "full": 0.75, "of_possible": 1.0
    }  # fmt: skip
    found = rated(np.array([3, 3, 3, 3]), 5, 4)
    assert (found["at_least"], found["martello_toth"], found["of_possible"], found["full"]) == (3, 4, 1.0, 0.6)
    drawn = lengths(2000)
    assert min(drawn) >= 20 and max(drawn) <= 700 and fullness(np.array(drawn), 2048)["of_possible"] > 0.98


def test_data_at_scale_runs_each_phase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = bpe_tokenizer()
    monkeypatch.setattr(scale, "chatml", lambda: Encoder(tokenizer, load_template("chatml", tokenizer)))
    found = {phase: scale.timed(phase, tmp_path, 60) for phase in scale.PHASES}
    assert found["index"]["records"] == 60 and found["write"]["bytes"] == (tmp_path / "chats.jsonl").stat().st_size
    assert found["flatten"]["steps"] >= 1 and found["fill"]["packs"] >= found["fill"]["martello_toth"] >= 1
    assert all(0 < phase["before_gib"] <= phase["peak_gib"] for phase in found.values())
    assert all(abs(phase["own_growth_gib"]) < 0.1 and "own_gib" not in phase for phase in found.values())


def test_growth_is_in_bytes_per_record() -> None:
    tenth = {phase: {"peak_gib": 1.0} for phase in scale.PHASES}
    whole = tenth | {"fill": {"peak_gib": 2.0}}
    assert scale.growth(tenth, whole, 2**20) == {"write": 0.0, "index": 0.0, "flatten": 0.0, "fill": 1024.0}
