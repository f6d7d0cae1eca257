"""`eyegraft eval`: metrics of a run in eval.json, and the answers they count."""

import json
from pathlib import Path

from llm.chat.identity_eval import evaluate_identity, read_identity
from llm.errors import ConfigError
from llm.files.atomic_files import write_atomically
from llm.files.folder_mark import Claim, claim
from llm.files.regular_files import SETTINGS, read_text
from llm.log import logger
from vlm.config import BenchmarkEval, EvalConfig, VqaEval
from vlm.model.runs import OpenedRun, open_run
from vlm.ready_config import ReadyRunConfig

BLANK = "blank.png"  # the image of a question that is asked without its own


def _of_an_evaluation(folder: Path) -> bool:
    """Whether a folder without a mark is an evaluation's: eval.json has metrics that only an evaluation has."""
    try:
        figures = json.loads(read_text(folder / "eval.json", SETTINGS))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(figures, dict) and not figures.keys().isdisjoint(("vqa_questions", "identity_hit_before"))


EVAL = Claim(kind="evaluation", files=("eval.json", "answers.json", BLANK), earlier=_of_an_evaluation)
"""Files that an evaluation writes into its folder."""


def evaluate(config: EvalConfig) -> dict[str, float]:
    """Evaluate a run as the recipe says; returns the metrics. ConfigError for image questions to a text run."""
    out = Path(config.out or Path(config.run) / config.name)
    claim(out, EVAL)
    opened = open_run(Path(config.run), config.checkpoint).placed()
    figures: dict[str, float] = {}
    if config.vqa is not None:
        figures |= _answer_questions(opened, config.vqa, Path(config.run), out)
    if config.identity is not None:
        plan = config.identity
        others, general = (Path(path) if path else None for path in (plan.others, plan.general))
        questions = read_identity(Path(plan.paraphrases), others, general)
        base = open_run(Path(config.run), config.checkpoint, base=True).placed()
        found, answers = evaluate_identity(
            base.chat_model, opened.chat_model, questions, plan.name, plan.max_new_tokens
        )
        figures |= found
        write_atomically(out / "answers.json", json.dumps(answers, ensure_ascii=False, indent=1))
    if config.benchmarks is not None:
        figures |= _ask_benchmarks(opened, config, config.benchmarks, out)
    write_atomically(out / "eval.json", json.dumps(figures, indent=1))
    for key, value in figures.items():
        logger.info(f"  {key:<28} {value:g}")
    logger.info(f"figures: {out / 'eval.json'}" + (f"; answers: {out / 'answers.json'}" if config.identity else ""))
    return figures


def _ask_benchmarks(opened: OpenedRun, config: EvalConfig, plan: BenchmarkEval, out: Path) -> dict[str, float]:
    """The main metric of each form of the files, by the form's name; the report is in the folder."""
    # here: a text run is evaluated without vision code
    from vlm.evaluate.benchmark_files import BenchmarkFiles
    from vlm.evaluate.benchmark_run import Asking, run_benchmarks
    from vlm.evaluate.local_answerer import LocalAnswerer
    from vlm.evaluate.model_identity import model_identity

    if opened.chat_model.sees_images:
        _keep_features(opened, Path(config.run))
    files = BenchmarkFiles(tuple(Path(one) for one in plan.files), plan.form, plan.images, plan.split, plan.limit)
    identity = model_identity(Path(config.run), config.checkpoint)
    answerer = LocalAnswerer(config.run, opened.chat_model)
    results = run_benchmarks(answerer, identity, files.read(), out, Asking(blind=plan.blind))
    return {
        f"{one.asked.form}_{line.name}": round(line.value, 4)
        for one in results
        if (line := one.benchmark.main_line) is not None
    }


def _keep_features(opened: OpenedRun, run: Path) -> None:
    """Take the features of images from the cache beside the run, where its recipe allows one."""
    from vlm.model.run_parts import OpenedVision, keep_features  # here: a text run is evaluated without vision code

    if isinstance(opened, OpenedVision):  # a model that model.vlm names has no cache
        logger.info(keep_features(opened.model, opened.config, [], run))


def _answer_questions(opened: OpenedRun, plan: VqaEval, run: Path, out: Path) -> dict[str, float]:
    from vlm.evaluate.vqa import evaluate_vqa  # here: a text run is evaluated without vision code
    from vlm.model.run_parts import OpenedVision

    if isinstance(opened.config, ReadyRunConfig):
        file = plan.source.path
        raise ConfigError(
            f"eval.vqa: {run} is a finetune of model.vlm, whose answers are not compared token by token. Name the file "
            f"in eval.benchmarks.files, or: eyegraft eval {run} --on {file}"
        )
    if not isinstance(opened, OpenedVision):
        raise ConfigError(
            f"eval.vqa: {run} is a text run, which takes no images. Name a vision run, or evaluate its "
            "identity: --data held_out.json of `eyegraft data identity`"
        )
    _keep_features(opened, run)
    return evaluate_vqa(opened.model, opened.encoder, plan, out, Path.cwd(), opened.config.data.turns)
