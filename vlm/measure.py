"""`eyegraft eval`: a run's figures, written to eval.json with the answers behind them."""

import json
from pathlib import Path

from llm.errors import ConfigError
from llm.identity import evaluate_identity, read_identity
from llm.mark import Claim, claim
from llm.regular import SETTINGS, read_text
from llm.whole import write_whole
from vlm.config import EvalConfig
from vlm.evaluate import BLANK, evaluate_vqa
from vlm.forward import VlmModel
from vlm.run import keep_features, open_run


def _of_an_evaluation(folder: Path) -> bool:
    """Whether a folder without a mark is an evaluation's: by its figures, whose names nobody else has."""
    try:
        figures = json.loads(read_text(folder / "eval.json", SETTINGS))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(figures, dict) and not figures.keys().isdisjoint(("vqa_questions", "identity_hit_before"))


EVAL = Claim(kind="evaluation", files=("eval.json", "answers.json", BLANK), earlier=_of_an_evaluation)
"""What an evaluation writes into its folder."""


def evaluate(config: EvalConfig) -> dict[str, float]:
    """Measure a run as the recipe says; returns the figures."""
    out = Path(config.out or Path(config.run) / config.name)
    claim(out, EVAL)
    opened = open_run(Path(config.run), config.checkpoint).placed()
    figures: dict[str, float] = {}
    if config.vqa is not None:
        if not isinstance(opened.model, VlmModel):
            raise ConfigError(f"eval.vqa: {config.run} is a text run and sees no pictures")
        print(keep_features(opened.model, opened.config, [], Path(config.run)))
        figures |= evaluate_vqa(opened.model, opened.encoder, config.vqa, out, Path.cwd())
    if config.identity is not None:
        plan = config.identity
        questions = read_identity(Path(plan.paraphrases), Path(plan.others), Path(plan.general))
        base = open_run(Path(config.run), config.checkpoint, base=True).placed()
        found, answers = evaluate_identity(base.speaker, opened.speaker, questions, plan.name, plan.max_new_tokens)
        figures |= found
        write_whole(out / "answers.json", json.dumps(answers, ensure_ascii=False, indent=1))
    write_whole(out / "eval.json", json.dumps(figures, indent=1))
    for key, value in figures.items():
        print(f"  {key:<28} {value}")
    return figures
