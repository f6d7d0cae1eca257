"""EleutherAI's evaluation harness: answers over chat completions, choices scored over text completions."""

import json
import tempfile
from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from tests.clients.checks import QUESTION, TEXT_MODEL, main

QUESTIONS = [{"question": f"{QUESTION} ({number})", "choices": ["a cat", "a dog"], "answer": 0} for number in range(4)]
CHOICES = {
    "task": "tiny_choices", "output_type": "multiple_choice", "doc_to_text": "{{question}}", "doc_to_target": "answer",
    "doc_to_choice": "choices", "target_delimiter": " ", "metric_list": [{"metric": "acc"}],
}  # fmt: skip
ANSWERS = {
    "task": "tiny_answers", "output_type": "generate_until", "doc_to_text": "{{question}}",
    "doc_to_target": "{{choices[answer]}}", "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 8},
    "metric_list": [{"metric": "exact_match"}],
}  # fmt: skip


def run(kind: str, task: dict[str, Any], url: str, **more: Any) -> dict[str, Any]:
    """The results of one task."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
        source = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(folder / "data.jsonl")}}}
        (folder / "task.yaml").write_text(json.dumps(task | source | {"test_split": "test"}))
        tasks = TaskManager(include_path=str(folder), include_defaults=False)
        arguments = {"model": TEXT_MODEL, "base_url": url, "num_concurrent": 1, "max_retries": 2, "max_length": 1024}
        found = simple_evaluate(
            model=kind, model_args=arguments | more, tasks=[task["task"]], task_manager=tasks, bootstrap_iters=0,
            apply_chat_template=kind == "local-chat-completions",
        )  # fmt: skip
    assert found is not None
    return dict(found["results"][task["task"]])


def answers(url: str, _: str) -> None:
    assert "exact_match,none" in run("local-chat-completions", ANSWERS, f"{url}/chat/completions")


def completed(url: str, _: str) -> None:
    arguments = {"tokenizer_backend": "none"}
    assert "exact_match,none" in run("local-completions", ANSWERS, f"{url}/completions", **arguments)


def choices(url: str, _: str) -> None:
    """Scored by the log probabilities of the prompt's tokens; the tokenizer lies beside the model."""
    import sys

    arguments = {"tokenizer": sys.argv[3], "tokenizer_backend": "huggingface"}
    assert 0 <= run("local-completions", CHOICES, f"{url}/completions", **arguments)["acc,none"] <= 1


if __name__ == "__main__":
    main("lm_eval", {"answers": answers, "text completions": completed, "choices by log probability": choices})
