"""The limits of a server as options of three commands: their defaults, their bounds, and what each changes."""

from dataclasses import asdict, replace
from typing import Any

import pytest
from typer.testing import CliRunner

from demo.server.limits import DEFAULT, IMAGE, MOST_MESSAGES, fitting, public_limits
from vlm.app.cli import app
from vlm.app.limit_options import LimitOptions

COMMANDS = {"serve": ["x"], "web": [], "service": ["--models", "x"]}
# Option, a value, the field of the limits that it sets, and the values beyond its bounds.
OPTIONS: list[tuple[str, int, dict[str, Any], tuple[Any, ...]]] = [
    ("queue", 3, {"waiting": 3}, (-1, 201)),
    ("together", 2, {"together": 2}, (0, 65)),
    ("max-new-tokens", 7, {"new_tokens": 7}, (0, 2**20 + 1)),
    ("max-messages", 9, {"messages": 9}, (0, MOST_MESSAGES + 1)),
    ("max-characters", 11, {"text": 11}, (0, 10_000_001)),
    ("max-images", 0, {"images": 0}, (-1, 33)),
    ("model-memory", 2, {"model_memory": 2**31}, (-1, "much")),
    ("max-image-mib", 1, {"image": asdict(replace(IMAGE, max_bytes=2**20))}, (0, 65)),
]


def test_without_options_the_limits_are_the_default() -> None:
    assert LimitOptions().limits(public=False) == DEFAULT == fitting(DEFAULT)
    assert LimitOptions().limits(public=True) == public_limits()
    assert LimitOptions(queue=9).limits(public=True).share_waiting == 3


@pytest.mark.parametrize(("option", "value", "field", "wrong"), OPTIONS)
@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_sets_its_limit_and_refuses_what_is_beyond(
    command: str,
    option: str,
    value: int,
    field: dict[str, Any],
    wrong: tuple[Any, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[Any] = []
    monkeypatch.setattr("demo.api.serve.serve", lambda *given: found.append(given[7]))
    monkeypatch.setattr("demo.web.web.web", lambda *given: found.append(given[8]))
    monkeypatch.setattr("demo.jobs.launch.serve_jobs", lambda *given: found.append(given[8]))
    monkeypatch.setattr("vlm.service.trainable_models.find_models", lambda *_: None)
    run = CliRunner()
    assert run.invoke(app, [command, *COMMANDS[command], f"--{option}", str(value)]).exit_code == 0
    assert asdict(found[0]) == asdict(DEFAULT) | field, "no other limit changes"
    assert [run.invoke(app, [command, *COMMANDS[command], f"--{option}={bad}"]).exit_code for bad in wrong] == [2, 2]


def test_a_request_has_room_for_what_is_allowed() -> None:
    """Images in base64 and text in UTF-8, each quotation mark of it escaped, and every message with its values."""
    most = LimitOptions(max_images=32, max_image_mib=64, max_characters=10_000_000, max_messages=2000).limits(False)
    assert most.body > 32 * (64 * 2**20 * 4 // 3 + 4) + 4 * 10_000_000
    assert most.json.quotes > 2 * most.text and most.json.items >= 100 * 2000
    assert most.event > 4 * most.text
