"""Inspect, the evaluation framework, with its provider for OpenAI-compatible addresses."""

import os
import tempfile
from typing import Any

from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, GenerateConfig, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, system_message

from tests.clients.checks import IMAGE_MODEL, QUESTION, TEXT_MODEL, main


def model(url: str, name: str) -> Any:
    os.environ |= {"EYEGRAFT_API_KEY": "none", "EYEGRAFT_BASE_URL": url}
    return get_model(f"openai-api/eyegraft/{name}", config=GenerateConfig(max_tokens=8, temperature=0, seed=1))


def run(task: Task, chosen: Any) -> None:
    with tempfile.TemporaryDirectory() as logs:
        (log,) = evaluate(task, model=chosen, log_dir=logs, display="none")
    assert log.status == "success" and log.results, log.error


def task_of_questions(url: str, _: str) -> None:
    samples = [Sample(input=f"{QUESTION} ({number})", target="x") for number in range(4)]
    run(
        Task(dataset=samples, solver=[system_message("Be brief."), generate()], scorer=includes()),
        model(url, TEXT_MODEL),
    )


def image(url: str, shown: str) -> None:
    asked = ChatMessageUser(content=[ContentText(text=QUESTION), ContentImage(image=shown)])
    run(
        Task(dataset=[Sample(input=[asked], target="x")], solver=generate(), scorer=includes()), model(url, IMAGE_MODEL)
    )


if __name__ == "__main__":
    main("inspect-ai", {"conversation": task_of_questions, "image": image})
