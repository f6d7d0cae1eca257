"""`eyegraft data ask` against our own server."""

import json
from dataclasses import replace
from pathlib import Path

from data_tools.ask.ask import ask
from data_tools.ask.options import AskOptions
from data_tools.ask.plan import prepare
from data_tools.ask.rate_limit import RetryPolicy
from llm.chat.chat_model import question
from llm.chat.sampling import Sampling
from tests.demo.conftest import LIMITS, Server, noise_image


def test_data_ask_gets_answers_from_our_own_server(server: Server, tmp_path: Path) -> None:
    """A model with random weights never ends an answer: the last characters of its answer become the stop word."""
    answer = server.queue.chat_models["text"].answer(question("谁？"), Sampling(max_new_tokens=LIMITS.new_tokens))
    stop = answer[-2:]
    expected = answer[: answer.index(stop)]
    assert expected.strip()
    (tmp_path / "q.txt").write_text("谁？\n", encoding="utf-8")
    options = AskOptions("text", f"{server.url}/v1", set=(f"stop={json.dumps([stop])}",))
    outcome = ask(prepare(tmp_path / "q.txt", tmp_path / "text.jsonl", options))
    assert (outcome.exit_code, outcome.progress.retried) == (0, 0)
    (row,) = outcome.progress.rows.values()
    assert row == {
        "messages": [{"role": "user", "content": "谁？"}, {"role": "assistant", "content": expected.strip()}]
    }
    (tmp_path / "images").mkdir()
    for seed in range(3):
        (tmp_path / "images" / f"{seed}.png").write_bytes(noise_image(seed))
    options = AskOptions("eyes", f"{server.url}/v1", instruction="What is it?", workers=2)
    plan = prepare(tmp_path / "images", tmp_path / "eyes.jsonl", options)
    outcome = ask(
        replace(plan, retry_policy=RetryPolicy(30, 0.05, 0.2))
    )  # the queue is short: some requests may get 429 and be repeated
    # Every answer is cut off at the token limit and therefore counts as failed.
    cut = "the answer was cut off at the token limit; raise it with --set max_tokens=N, 3 times"
    assert sorted(outcome.progress.failed) == [(f"{seed}.png", cut) for seed in range(3)]
    assert outcome.progress.tokens.completion == 3 * 3 * LIMITS.new_tokens
