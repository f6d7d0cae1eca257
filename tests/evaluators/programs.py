"""The evaluation programs: what is typed to run each, and how what it writes about each question is read."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.evaluators.files import LETTERS, MMBENCH, POPE, SUBJECTS

TOKENS = 16  # of an answer, as `eyegraft eval` allows for letters and yes or no
TEXT, EYES = "text", "eyes"  # names of the served models
KEY = {"EYEGRAFT_API_KEY": "none", "OPENAI_API_KEY": "none"}
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True)
class Said:
    """What a program has of one question: the text that came, or the likeliest letter, and its own score."""

    text: str
    score: float


Answers = Mapping[str, Sequence[Said]]
"""The questions of each file in its order, by the name of the file."""


@dataclass(frozen=True, slots=True)
class Program:
    """An evaluation program of an environment.

    `arguments`: the server's address with /v1 and the folder of a tokenizer -> its command lines, run beside the files.
    `read`: that folder -> what it wrote. `compared`: letters by probability.
    """

    name: str
    package: str
    environment: str
    arguments: Callable[[str, Path], Sequence[Sequence[str]]]
    read: Callable[[Path], Answers]
    compared: bool = False


def _lm_eval(kind: str, address: str, tasks: str, *more: str) -> Callable[[str, Path], Sequence[Sequence[str]]]:
    def arguments(url: str, tokenizer: Path) -> Sequence[Sequence[str]]:
        given = f"model={TEXT},base_url={url}/{address},num_concurrent=4,max_retries=3"
        extra = [one.format(tokenizer=tokenizer) for one in more]
        return [[
            "lm_eval", "run", "--model", kind, "--model_args", ",".join([given, *extra]), "--apply_chat_template",
            "--include_path", "lm_eval", "--tasks", *(f"{subject}_{tasks}" for subject in SUBJECTS),
            "--log_samples", "--output_path", f"out/{kind}",
        ]]  # fmt: skip

    return arguments


def _lm_eval_answers(kind: str, tasks: str, score: str) -> Callable[[Path], Answers]:
    def read(folder: Path) -> Answers:
        found: list[Said] = []
        for subject in SUBJECTS:
            (file,) = (folder / "out" / kind).rglob(f"samples_{subject}_{tasks}_*.jsonl")
            rows = sorted(_lines(file), key=lambda row: int(row["doc_id"]))
            found += [Said(_text(row), float(row[score])) for row in rows]
        return {"mmlu": found}

    return read


def _text(row: dict[str, Any]) -> str:
    """The text, or the letter with the greatest log-probability: of each there is a pair with whether it is greedy."""
    first = row["resps"][0][0]
    if isinstance(first, str):
        return first
    logprobs = [float(letter[0][0]) for letter in row["resps"]]
    return LETTERS[logprobs.index(max(logprobs))]


def _inspect(url: str, _: Path) -> Sequence[Sequence[str]]:
    settings = ["--temperature", "0", "--max-tokens", str(TOKENS), "--seed", "0", "--max-connections", "8"]
    written = ["--log-format", "json", "--log-dir", "out/inspect", "--display", "none"]
    asked = {EYES: ("pope", "mmbench"), TEXT: ("mmlu",)}
    return [
        ["inspect", "eval", *(f"inspect_tasks.py@{name}" for name in names), "--model", f"openai-api/eyegraft/{model}",
         "--model-base-url", url, *settings, *written]
        for model, names in asked.items()
    ]  # fmt: skip


def _inspect_answers(folder: Path) -> Answers:
    found: dict[str, list[Said]] = {}
    for file in (folder / "out" / "inspect").glob("*.json"):
        log = json.loads(file.read_text(encoding="utf-8"))
        name = {"pope": POPE, "mmbench": MMBENCH, "mmlu": "mmlu"}[log["eval"]["task"].rpartition("/")[2]]
        found[name] = []
        for sample in sorted(log["samples"], key=lambda sample: int(sample["id"])):
            [score] = sample["scores"].values()
            text = sample["output"]["choices"][0]["message"]["content"]
            found[name].append(Said(text, float(score["value"] == "C")))
    return found


def _evalscope(url: str, _: Path) -> Sequence[Sequence[str]]:
    arguments = {
        "general_vqa": {"local_path": "evalscope", "subset_list": ["pope"], "metric_list": ["Rouge"]},
        "general_vmcq": {"local_path": "evalscope", "subset_list": ["mmbench"], "prompt_template": "{question}"},
    }
    return [[
        "evalscope", "eval", "--model", EYES, "--api-url", url, "--api-key", "none", "--eval-type", "openai_api",
        "--datasets", *arguments, "--dataset-args", json.dumps(arguments), "--eval-batch-size", "8",
        "--generation-config", json.dumps({"max_tokens": TOKENS, "temperature": 0}), "--work-dir", "out/evalscope",
    ]]  # fmt: skip


def _evalscope_answers(folder: Path) -> Answers:
    found: dict[str, list[Said]] = {}
    for name, task, score in ((POPE, "general_vqa_pope", "Rouge-L-R"), (MMBENCH, "general_vmcq_mmbench", "accuracy")):
        (file,) = (folder / "out" / "evalscope").rglob(f"reviews/*/{task}.jsonl")
        rows = sorted(_lines(file), key=lambda row: int(row["index"]))
        scores = [row["sample_score"]["score"] for row in rows]
        found[name] = [Said(one["prediction"], float(one["value"][score])) for one in scores]
    return found


def _lmms_eval(url: str, _: Path) -> Sequence[Sequence[str]]:
    return [[
        "lmms-eval", "--model", "openai", "--model_args", f"model={EYES},base_url={url},api_key=none",
        "--include_path", "lmms_eval", "--tasks", "pope_file,mmbench_file", "--batch_size", "1", "--log_samples",
        "--output_path", "out/lmms_eval",
    ]]  # fmt: skip


def _lmms_eval_answers(folder: Path) -> Answers:
    found: dict[str, list[Said]] = {}
    for name, task in ((POPE, "pope_file"), (MMBENCH, "mmbench_file")):
        (file,) = (folder / "out" / "lmms_eval").rglob(f"*_samples_{task}.jsonl")
        rows = sorted(_lines(file), key=lambda row: int(row["doc_id"]))
        found[name] = [Said(_only(row["filtered_resps"]), float(row["accuracy"])) for row in rows]
    return found


def _only(answers: str | list[str]) -> str:
    return answers if isinstance(answers, str) else answers[0]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


PROGRAMS = (
    Program(
        "lm-eval, letters by probability", "lm_eval", "core",
        _lm_eval(
            "local-completions", "completions", "letters", "tokenizer={tokenizer}", "tokenizer_backend=huggingface"
        ),
        _lm_eval_answers("local-completions", "letters", "acc"), compared=True,
    ),
    Program(
        "lm-eval, chat", "lm_eval", "core",
        _lm_eval("local-chat-completions", "chat/completions", "texts"),
        _lm_eval_answers("local-chat-completions", "texts", "exact_match"),
    ),
    Program("inspect-ai", "inspect-ai", "core", _inspect, _inspect_answers),
    Program("evalscope", "evalscope", "evalscope", _evalscope, _evalscope_answers),
    Program("lmms-eval", "lmms-eval", "lmms", _lmms_eval, _lmms_eval_answers),
)  # fmt: skip
