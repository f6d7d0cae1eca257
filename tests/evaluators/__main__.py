"""Serve models, let evaluation programs of other environments ask them, and compare with `eyegraft eval`.

python -m tests.evaluators --text assets/smollm2 --eyes runs/emoji/finetune --world assets/emoji/style
python -m tests.evaluators "lm-eval, chat" --text assets/smollm2 --questions 60
"""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from llm.config.dtype_variable import VARIABLE, asked_dtype
from tests.evaluators.campaign import Models, Outcome, ask_ourselves, ask_programs, prepare
from tests.evaluators.environments import NoEnvironment, make
from tests.evaluators.files import make_files
from tests.evaluators.models import train_tiny
from tests.evaluators.programs import PROGRAMS, Program
from tests.soak.table import machine, revision

EPOCHS = 30  # of the tiny model
TINY = "a tiny model, trained on the questions"


def main() -> None:
    """Run every program, print and write what it says; exits with 1 unless all agree and no request failed."""
    options = _options()
    wanted = {*options.programs}
    chosen = [one for one in PROGRAMS if not wanted or {one.name, one.package} & wanted]
    tried = revision()
    try:
        environments = {name: make(name) for name in dict.fromkeys(one.environment for one in chosen)}
    except NoEnvironment as error:
        sys.exit(str(error))
    with tempfile.TemporaryDirectory(prefix="eyegraft-evaluators-") as name:
        outcomes = _outcomes(Path(name), options, environments, chosen)
    if options.out:
        text = json.dumps(_document(options, outcomes, tried), indent=1)
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(not all(one.passed for one in outcomes))


def _outcomes(
    root: Path, options: argparse.Namespace, environments: dict[str, Path], chosen: Sequence[Program]
) -> list[Outcome]:
    folder = root / "files"
    folder.mkdir()
    make_files(folder, options.world, options.questions)
    prepare(folder)
    if options.text:
        models = Models(options.text, options.eyes, options.text)
    else:
        run, llm = train_tiny(root / "models", folder, EPOCHS)
        models = Models(run, run, llm)
    ask_ourselves(folder, models, chosen)
    outcomes: list[Outcome] = []
    for outcome in ask_programs(folder, models, environments, chosen):
        _print(outcome)
        outcomes.append(outcome)
    return outcomes


def _document(options: argparse.Namespace, outcomes: Sequence[Outcome], tried: str) -> dict[str, Any]:
    """The file of results; `tried`: the revision at the start."""
    variable = [f"{VARIABLE}={asked}"] if (asked := asked_dtype()) else []
    command = [*variable, "python -m tests.evaluators", shlex.join(sys.argv[1:])]
    return {
        "command": " ".join(command).strip(), "date": f"{date.today()}",
        "revision": tried, "machine": machine(),
        "models": [str(one) for one in (options.text, options.eyes) if one] or [TINY],
        "programs": [one.as_json() for one in outcomes],
    }  # fmt: skip


def _print(outcome: Outcome) -> None:
    requests = f"{sum(outcome.statuses.values())} requests, {outcome.failed} failed"
    print(f"{outcome.program.name} {outcome.version}: {requests}, {outcome.seconds:.0f} s")
    for one in outcome.agreements:
        print(f"  {one.file}: {one.questions} questions, the same score on {one.same_score}", end=", ")
        print(f"the same text on {one.same_text}; theirs {one.theirs:.3f}, ours {one.ours:.3f}", end="; ")
        print(f"{one.distinct} different answers", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    names = sorted({name for one in PROGRAMS for name in (one.package, one.name)})
    parser.add_argument("programs", nargs="*", help=f"what to run, all by default: {'; '.join(names)}")
    parser.add_argument("--text", type=Path, help="a text model; by default a tiny model is trained for all")
    parser.add_argument("--eyes", type=Path, help="a vision model; without one, beside --text, lm_eval alone is run")
    parser.add_argument("--world", type=Path, help="folder of an emoji world's test files, for the images")
    parser.add_argument("--questions", type=int, default=16, help="rows of each file, about")
    parser.add_argument("--out", type=Path, help="file to write")
    options = parser.parse_args()
    if options.eyes and not options.text:
        parser.error("--eyes: name a text model too, by --text")
    if unknown := {*options.programs} - {*names}:
        parser.error(f"no such program: {', '.join(sorted(unknown))}")
    texts = {name for one in PROGRAMS if one.package == "lm_eval" for name in (one.package, one.name)}
    if options.text and not options.eyes and not (options.programs and {*options.programs} <= texts):
        parser.error("--text without --eyes: no program but lm_eval asks about texts alone; name it")
    return options


if __name__ == "__main__":
    main()
