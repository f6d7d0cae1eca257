"""The comparison that a browser stores: what comes back is checked, and it outlasts a restart of the service."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from demo.job_pages.mount import browser_secret
from demo.model_library import ModelLibrary
from demo.pages.compare_store import as_stored, shown_values
from demo.pages.page import build_page
from demo.pages.parts.browser_state import restore
from demo.pages.parts.kept_choices import asked_and_kept
from demo.pages.service_parts import ServiceParts
from demo.server.generation_queue import GenerationQueue
from demo.server.limits import Limits
from llm.config.schema import Source

NODE = shutil.which("node")
CELLS = ["red", "base · step 3", "", "tuned · step 3"]


MODELS = ["base", "tuned"]


def test_a_comparison_comes_back_as_it_was_stored(uploads: Path) -> None:
    """For the same models only; an image that is gone is left out."""
    image = uploads / "a" / "1.png"
    image.parent.mkdir()
    image.write_bytes(b"image")
    stored = json.loads(json.dumps(as_stored(("base", "tuned"), {"text": "What?", "files": [str(image)]}, CELLS)))
    found = restore(stored, Limits())
    assert shown_values(found, MODELS) == [{"text": "What?", "files": [str(image)]}, *CELLS]
    assert shown_values(found, MODELS[::-1]) == shown_values(found, []) == shown_values(found, [None, None]) == []
    image.unlink()
    assert shown_values(restore(stored, Limits()), MODELS) == [{"text": "What?", "files": []}, *CELLS]


@pytest.mark.parametrize("change", [(0, "assistant", MODELS), (1, "user", []), (2, "assistant", CELLS[:3])])
def test_what_is_no_comparison_is_not_shown(change: tuple[int, str, list[str]]) -> None:
    """The browser may send anything."""
    number, role, content = change
    stored = as_stored(MODELS, {"text": "What?"}, CELLS)
    assert shown_values(restore(stored, Limits()), MODELS) == [{"text": "What?", "files": []}, *CELLS]
    stored[number] = {"role": role, "content": content}
    assert shown_values(restore(stored, Limits()), MODELS) == []
    odd_values: list[object] = [None, {}, [], "x", [None], as_stored(MODELS, {"text": "x" * 200_000}, CELLS)]
    for odd in odd_values:
        assert shown_values(restore(odd, Limits()), MODELS) == []


@pytest.mark.skipif(not NODE, reason="no Node on this machine")
@pytest.mark.parametrize(
    ("kind", "query", "values"),
    [
        ("reload", "?model=A", ["", "", "kept", "B", None]),
        ("navigate", "?model=A&lang=zh", ["", "", "kept", "B", None]),
        ("navigate", "?model=A", ["A", "", "", "built", "built"]),
        ("navigate", "", ["", "", "", "built", "built"]),
    ],
)
def test_a_page_that_is_loaded_again_has_its_choices(kind: str, query: str, values: list[str]) -> None:
    """One that is opened from elsewhere has those of its address."""
    page = f"globalThis.location = {{search: {json.dumps(query)}}};"
    page += "let kept = '[\"B\", null]'; const removeItem = () => { kept = null; };"
    page += "globalThis.sessionStorage = {getItem: () => kept, removeItem};"
    page += f"performance.getEntriesByType = () => [{{type: '{kind}'}}];"
    assert run(asked_and_kept("key", "model", "against"), ["", "", "", "built", "built"], page) == values


def run(function: str, values: list[Any], before: str = "") -> Any:
    """The result of a function for these values, in Node."""
    called = f"{before} console.log(JSON.stringify(({function})(...{json.dumps(values)})))"
    return json.loads(subprocess.run([str(NODE), "-e", called], capture_output=True, text=True, check=True).stdout)


def stores_of(page: gr.Blocks) -> list[gr.BrowserState]:
    """Those of our own: gr.ChatInterface has one that it does not use."""
    found = [block for block in page.blocks.values() if isinstance(block, gr.BrowserState)]
    return [block for block in found if block.storage_key.startswith("eyegraft-")]


def test_the_page_of_a_service_begins_with_its_file_and_keeps_chats_over_a_restart(tmp_path: Path) -> None:
    """With the service's secret, which the page does not give away."""
    files: Mapping[str, Source] = {name: Source(path=f"/{name}") for name in ("bad.jsonl", "good.jsonl")}
    library = ModelLibrary(tmp_path)

    def built(token: str) -> gr.Blocks:
        parts = ServiceParts(lambda name: "", browser_secret(token), lambda: "good.jsonl", lambda name: [])
        return build_page(library, GenerationQueue(library, 1), Limits(), files, parts)

    page, again, other = built("one"), built("one"), built("two")
    secrets = [{store.secret for store in stores_of(one)} for one in (page, again, other)]
    assert secrets[0] == secrets[1] != secrets[2] and all(len(found) == 1 for found in secrets)
    assert len(stores_of(page)) == 3
    assert "one" not in str(secrets[0])
    chosen = {block.elem_id: block.value for block in page.blocks.values() if isinstance(block, gr.Dropdown)}
    assert chosen["data-file"] == chosen["probe-file"] == "good.jsonl"
