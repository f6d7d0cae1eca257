"""What the browser stores of the chats: the functions that it runs, in Node."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from demo.pages.chat_store import FORGET, KEPT, OPENED, STORE

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(not NODE, reason="no Node on this machine")
TURNS = [{"role": "user", "content": "Hi?"}]


def run(function: str, *values: Any) -> Any:
    """The result of a function for these values."""
    called = f"console.log(JSON.stringify(({function})(...{json.dumps(values)})))"
    return json.loads(subprocess.run([str(NODE), "-e", called], capture_output=True, text=True, check=True).stdout)


def test_each_model_has_its_own_chat() -> None:
    """What was stored of one model is not opened with another; the chats of the models used last are kept."""
    stored: Any = {}
    for number in range(KEPT + 2):
        [stored] = run(STORE, [{"role": "user", "content": str(number)}], stored, f"m{number}")
    [stored] = run(STORE, TURNS, stored, "m3")
    assert list(stored) == ["m2", "m4", "m5", "m3"], "m3 was used last"
    assert run(OPENED, stored, "m3") == [TURNS, "m3"] and run(OPENED, stored, "m0") == [[], "m0"]
    assert run(STORE, [], stored, "m3") == [stored], "a page that is being loaded"
    [left] = run(FORGET, stored, "m3")
    assert list(left) == ["m2", "m4", "m5"]


def test_a_chat_of_an_earlier_version_is_read() -> None:
    """One list of turns, of a model that is not known."""
    assert run(OPENED, TURNS, "m") == [TURNS, "m"]
    assert run(STORE, TURNS, TURNS, "m") == [{"m": TURNS}] and run(FORGET, TURNS, "m") == [{}]
    assert run(OPENED, None, None) == [[], None] and run(STORE, [], TURNS, "m") == [TURNS]
