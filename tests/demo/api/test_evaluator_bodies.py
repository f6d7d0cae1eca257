"""The bodies of evaluation programs are answered, and read as the questions that they ask.

Recorded from the programs against `eyegraft serve` in December 2026, texts and images shortened: inspect-ai 0.3.285,
lm-eval 0.4.13, evalscope 1.14.1, lmms-eval 0.7.3. `make evaluators` runs the programs themselves.
"""

from typing import Any

import httpx2 as httpx
import pytest

from demo.api.chat_request import ChatRequest, messages_of
from demo.server.limits import DEFAULT
from tests.demo.conftest import Server, data_url, noise_image

URL = data_url(noise_image(1))
ASKED = "Is there a cat in the image?\nAnswer the question using a single word or phrase."
SHOWN = [{"type": "image_url", "image_url": {"url": URL, "detail": "auto"}}, {"type": "text", "text": ASKED}]
PLAIN = [{"type": "image_url", "image_url": {"url": URL}}, {"type": "text", "text": ASKED}]
SUBJECT = "The following are multiple choice questions (with answers) about addition.\n\n"
SUM, OTHER = "What is 5 + 5?\nA. 14\nB. 10\nAnswer:", "What is 2 + 4?\nA. 6\nB. 9\nAnswer:"
CHAT: dict[str, dict[str, Any]] = {
    "inspect-ai": {
        "model": "eyes", "messages": [{"role": "user", "content": SHOWN}], "max_tokens": 16, "seed": 0,
        "temperature": 0.0,
    },
    "lm-eval": {
        "messages": [
            {"role": "system", "content": SUBJECT}, {"role": "user", "content": SUM},
            {"role": "assistant", "content": "B"}, {"role": "user", "content": OTHER},
        ],
        "model": "text", "max_tokens": 16, "temperature": 0.0, "stop": [], "seed": 1234,
    },
    "lm-eval, without a tokenizer": {
        "messages": [{"role": "user", "content": OTHER}], "model": "text", "max_tokens": 16, "temperature": 0,
        "stop": [None], "seed": 1234,
    },
    "evalscope": {
        "model": "eyes", "messages": [{"role": "user", "content": SHOWN}], "max_tokens": 16, "temperature": 0.0,
    },
    "evalscope, with every neutral setting": {
        "model": "eyes", "messages": [{"role": "user", "content": SHOWN}], "stream": True,
        "stream_options": {"include_usage": True}, "max_tokens": 16, "frequency_penalty": 0.0, "presence_penalty": 0.0,
        "stop": [], "repetition_penalty": 1.0, "logit_bias": {}, "seed": 42, "temperature": 0.0, "top_p": 1.0,
        "top_k": 0, "n": 1, "logprobs": False,
    },
    "lmms-eval": {
        "messages": [{"role": "user", "content": PLAIN}], "model": "eyes", "max_tokens": 1024, "temperature": 0,
        "top_p": 1.0,
    },
}  # fmt: skip
READ = {
    "lm-eval": [f"system:{SUBJECT.strip()}", f"user:{SUM}", "assistant:B", f"user:{OTHER}"],
    "lm-eval, without a tokenizer": [f"user:{OTHER}"],
}


@pytest.mark.parametrize("program", CHAT)
def test_a_body_is_answered_with_all_of_its_keys(server: Server, program: str) -> None:
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=CHAT[program], timeout=60)
    assert answer.status_code == 200, answer.text
    assert "eyegraft-no-effect" not in answer.headers, "every key is used, or asks for nothing"


@pytest.mark.parametrize("program", CHAT)
def test_a_body_is_read_as_its_question(program: str) -> None:
    read = [
        f"{one.role}:{''.join(part if isinstance(part, str) else '<image>' for part in one.parts).strip()}"
        for one in messages_of(ChatRequest.model_validate(CHAT[program]), DEFAULT)
    ]
    assert read == READ.get(program, [f"user:<image>{ASKED}"])


def test_lm_evals_scores_are_of_the_prompt_and_one_token(server: Server) -> None:
    """It sums `token_logprobs[context:-1]`, so there has to be one token after the prompt."""
    ids = server.queue.chat_models["text"].encoder.tokenizer(f"{SUM} B").input_ids
    body = {
        "model": "text", "prompt": [ids], "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True,
    }  # fmt: skip
    answer = httpx.post(f"{server.url}/v1/completions", json=body, timeout=60)
    (choice,) = answer.json()["choices"]
    assert choice["index"] == 0 and len(choice["logprobs"]["token_logprobs"]) == len(ids) + 1
    assert len(choice["logprobs"]["top_logprobs"]) == len(choice["logprobs"]["tokens"]) == len(ids) + 1


def test_as_many_requests_as_these_programs_send_at_once_find_a_place() -> None:
    assert DEFAULT.requests >= 32, "lmms-eval's and VLMEvalKit's default"
