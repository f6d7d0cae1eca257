"""Data at scale: `python -m benchmarks.scale [RECORDS]` writes, indexes and plans a million short chats.

Each phase runs in a process of its own, whose VmHWM is reset after the imports. A tenth of the records is measured as
well, for the growth per record. Results of a million: benchmarks/results/scale.json.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import status_gib
from benchmarks.machine import machine
from benchmarks.packed import rated
from llm.config.schema import DataConfig, Source, TrainConfig
from llm.data.corpus import Corpus, build_corpus
from llm.data.hold_out import hold_out
from llm.data.loader import plan_run
from llm.encoding.chat_template import load_template
from llm.encoding.encoder import Encoder
from llm.model.pretrained import load_tokenizer
from llm.train.process_memory import resident_peak_gib

RESULTS = Path("benchmarks/results/scale.json")
LLM = str(Path("assets/smollm2").absolute())
RECORDS = 1_000_000
LENGTH, BUDGET, BATCH = 1024, 4096, 128
HELD_OUT = 0.01
WORDS = "time year people way day man thing woman life child world school state family student group country problem"
PHASES = ("write", "index", "flatten", "fill")


def main() -> None:
    """Measure a tenth of the records, then all; with `--phase`, as a subprocess, one phase."""
    if sys.argv[1:2] == ["--phase"]:
        print(json.dumps(timed(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    command = " ".join(["python -m benchmarks.scale", *sys.argv[1:]])
    result: dict[str, Any] = {"machine": machine(), "command": command, "day": str(date.today()), "sizes": {}}
    for size in (count // 10, count):
        with tempfile.TemporaryDirectory() as folder:
            result["sizes"][str(size)] = {phase: run_phase(phase, Path(folder), size) for phase in PHASES}
    result["growth"] = growth(result["sizes"][str(count // 10)], result["sizes"][str(count)], count - count // 10)
    if count >= RECORDS:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["growth"], indent=1))


def growth(tenth: dict[str, Any], full: dict[str, Any], more: int) -> dict[str, float]:
    """Growth of each phase's peak memory in bytes per record, over `more` records."""
    return {phase: round((full[phase]["peak_gib"] - tenth[phase]["peak_gib"]) * 2**30 / more, 1) for phase in PHASES}


def run_phase(phase: str, folder: Path, count: int) -> dict[str, Any]:
    """Run a phase in a process of its own; returns its figures."""
    command = [sys.executable, "-m", "benchmarks.scale", "--phase", phase, str(folder), str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{count:,} {phase}: {found}", flush=True)
    return found


def timed(phase: str, folder: Path, count: int) -> dict[str, Any]:
    """Seconds of a phase, the process's memory before it (libraries, tokenizer) and at its peak, and its facts.

    The peak includes mapped pages of the corpus, which the kernel can reclaim; `own_growth_gib` is the growth of the
    process's anonymous memory, including the plan.
    """
    encoder = chatml()
    forget_peak()
    before, own, began = resident_peak_gib(), status_gib("RssAnon"), time.perf_counter()
    if phase == "write":
        facts: dict[str, Any] = {"bytes": write(folder, count)}
    elif phase == "index":
        facts = {"records": len(indexed(folder, encoder))}
    else:
        facts = planned(phase, folder, encoder)
    seconds = round(time.perf_counter() - began, 2)
    own = facts.pop("own_gib", status_gib("RssAnon")) - own
    memory = {"before_gib": before, "peak_gib": resident_peak_gib(), "own_growth_gib": own}
    return {"seconds": seconds} | {name: round(value, 3) for name, value in memory.items()} | facts


def forget_peak() -> None:
    """Reset VmHWM (proc(5)): imports and the tokenizer's construction take more memory than they leave allocated."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def chatml() -> Encoder:
    """SmolLM2's tokenizer with the ChatML template."""
    tokenizer = load_tokenizer(LLM)
    return Encoder(tokenizer, load_template("chatml", tokenizer))


def write(folder: Path, count: int) -> int:
    """Write `count` chats of one to three questions, one per line, from a fixed seed; returns the file's bytes."""
    draw, words = random.Random(0), WORDS.split()
    file = folder / "chats.jsonl"
    with file.open("w", encoding="utf-8") as stream:
        for _ in range(count):
            messages = []
            for _ in range(draw.randint(1, 3)):
                question, answer = (
                    draw.choices(words, k=draw.randint(4, 12)),
                    draw.choices(words, k=draw.randint(4, 40)),
                )
                messages.append({"role": "user", "content": " ".join(question)})
                messages.append({"role": "assistant", "content": " ".join(answer)})
            stream.write(json.dumps({"messages": messages}) + "\n")
    return file.stat().st_size


def indexed(folder: Path, encoder: Encoder) -> Corpus:
    """The corpus, built as in a run or, if it exists, opened."""
    source = Source(path=str(folder / "chats.jsonl"))
    data = DataConfig(sources=(source,), template="chatml", max_length=LENGTH)
    return build_corpus(data.sources, data, encoder, folder / "cache", folder)


def planned(mode: str, folder: Path, encoder: Encoder) -> dict[str, Any]:
    """Plan an epoch as a run does; of `fill` also the number of packs against its lower bounds."""
    began = time.perf_counter()
    corpus = indexed(folder, encoder)
    train = TrainConfig.model_validate({"packing": mode, "batch": BATCH, "pack_tokens": BUDGET})
    chosen, _ = hold_out(corpus, HELD_OUT, 0)
    opened = time.perf_counter() - began
    plan = plan_run(corpus, chosen, train, 0).plans[0]
    facts: dict[str, Any] = {"opened_seconds": round(opened, 2), "steps": len(plan), "packs": sum(map(len, plan.steps))}
    facts["own_gib"] = status_gib("RssAnon")
    assert sum(len(pack) for step in plan.steps for pack in step) == len(chosen), "every sample once"
    return facts | (rated(np.asarray(corpus.lengths[chosen]), BUDGET, facts["packs"]) if mode == "fill" else {})


if __name__ == "__main__":
    main()
