"""Serve models, let evaluation programs of other environments ask them, and compare with `eyegraft eval`.

python -m tests.evaluators --text assets/smollm2 --eyes runs/emoji/finetune --world assets/emoji/style
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

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
    chosen = [one for one in PROGRAMS if not options.programs or one.package in options.programs]
    tried = revision()
    try:
        environments = {name: make(name) for name in dict.fromkeys(one.environment for one in chosen)}
    except NoEnvironment as error:
        sys.exit(str(error))
    with tempfile.TemporaryDirectory(prefix="eyegraft-evaluators-") as name:
        outcomes = _outcomes(Path(name), options, environments, chosen)
    for one in outcomes:
        _print(one)
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
    if options.text and options.eyes:
        models = Models(options.text, options.eyes, options.text)
    else:
        run, llm = train_tiny(root / "models", folder, EPOCHS)
        models = Models(run, run, llm)
    ask_ourselves(folder, models)
    return ask_programs(folder, models, environments, chosen)


def _document(options: argparse.Namespace, outcomes: Sequence[Outcome], tried: str) -> dict[str, Any]:
    """The file of results; `tried`: the revision at the start."""
    named = {"text": f"{options.text}", "images": f"{options.eyes}"} if options.text and options.eyes else TINY
    return {
        "command": " ".join(["python -m tests.evaluators", *sys.argv[1:]]), "date": f"{date.today()}",
        "revision": tried, "machine": machine(), "models": named,
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
    parser.add_argument("programs", nargs="*", help="packages to run; all by default")
    parser.add_argument("--text", type=Path, help="a text model; with --eyes. By default a tiny model is trained")
    parser.add_argument("--eyes", type=Path, help="a vision model")
    parser.add_argument("--world", type=Path, help="folder of an emoji world's test files, for the images")
    parser.add_argument("--questions", type=int, default=40, help="rows of each file, about")
    parser.add_argument("--out", type=Path, help="file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
