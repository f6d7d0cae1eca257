"""Serve models, let evaluation programs of other environments ask them, and compare with `eyegraft eval`.

python -m tests.evaluators build/evaluators --text assets/smollm2 --eyes runs/emoji/finetune --world assets/emoji/style
"""

import argparse
import json
import sys
import tempfile
from datetime import date
from pathlib import Path

from tests.evaluators.campaign import Models, Outcome, ask_ourselves, ask_programs, prepare
from tests.evaluators.files import make_files
from tests.evaluators.models import train_tiny
from tests.evaluators.programs import PROGRAMS
from tests.soak.table import machine, revision

EPOCHS = 30  # of the tiny model


def main() -> None:
    """Run every program, print and write what it says; exits with 1 unless all agree and no request failed."""
    options = _options()
    chosen = [one for one in PROGRAMS if not options.programs or one.package in options.programs]
    with tempfile.TemporaryDirectory(prefix="eyegraft-evaluators-") as name:
        folder = Path(name) / "files"
        folder.mkdir()
        make_files(folder, options.world, options.questions)
        prepare(folder)
        if options.text and options.eyes:
            models = Models(options.text, options.eyes, options.text)
        else:
            run, llm = train_tiny(Path(name) / "models", folder, EPOCHS)
            models = Models(run, run, llm)
        ask_ourselves(folder, models)
        outcomes = ask_programs(folder, models, options.environments, chosen)
    for one in outcomes:
        _print(one)
    if options.out:
        document = {
            "command": "python -m " + " ".join(["tests.evaluators", *sys.argv[1:]]), "date": f"{date.today()}",
            "revision": revision(), "machine": machine(), "programs": [one.as_json() for one in outcomes],
        }  # fmt: skip
        options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    sys.exit(not all(one.passed for one in outcomes))


def _print(outcome: Outcome) -> None:
    print(f"{outcome.program.name} {outcome.version}: requests {outcome.statuses}, {outcome.seconds:.0f} s")
    for one in outcome.agreements:
        texts = "" if one.same_text is None else f", the same text on {one.same_text}"
        print(f"  {one.file}: {one.questions} questions, the same score on {one.same_score}{texts}", end="; ")
        print(f"theirs {one.theirs:.3f}, ours {one.ours:.3f}, {one.distinct} different answers", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environments", type=Path, help="folder with the environments core, evalscope and lmms")
    parser.add_argument("programs", nargs="*", help="packages to run; all by default")
    parser.add_argument("--text", type=Path, help="a text model; with --eyes. By default a tiny model is trained")
    parser.add_argument("--eyes", type=Path, help="a vision model")
    parser.add_argument("--world", type=Path, help="folder of an emoji world's test files, for the images")
    parser.add_argument("--questions", type=int, default=40, help="rows of each file, about")
    parser.add_argument("--out", type=Path, help="file to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()
