"""Templates of other people: rendered as the tokenizer renders them, and ended when they do not end."""

import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from llm.encoding.chat_template import load_template
from llm.encoding.named_templates import JINJA
from llm.errors import TemplateError
from llm.model.pretrained import load_tokenizer
from tests.llm.tokenizers import bpe_tokenizer

MESSAGES = [
    {"role": "system", "content": "Be kind. \u00e9\U0001f600 <b>"},
    {"role": "user", "content": ' What "is" it?\n'},
    {"role": "assistant", "content": "A cat."},
]
# What transformers gives templates beyond jinja's own.
FEATURES = {
    "generation": "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}|{% endfor %}",
    "tojson": "{{ messages | tojson }}{{ {'b': 1, 'a': [2]} | tojson(indent=2, sort_keys=True) }}",
    "loop controls": "{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}{{ m.role }}{% endfor %}",
    "namespace": "{% set n = namespace(x='') %}{% for m in messages %}{% set n.x = m.role ~ n.x %}{% endfor %}{{n.x}}",
    "dict": "{{ dict(a=1, **{'b': 2}) }}{{ dict.fromkeys(['x'], 3) }}",
    "date": "{{ strftime_now('%Y') }}",
    "white space": "  {% if true %}\n  x\n{% endif %}\n  y {#- c -#}  z",
    "values": "{{ bos_token }}{{ eos_token }}{{ add_generation_prompt }}{{ tools is none }}{{ documents is none }}",
    "nothing there": "{{ messages[0].nothing }}{{ messages[9] }}",
}
LONG = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
BOMBS = {
    "power": "{{ 9 ** (9 ** 9) }}",
    "string": "{{ 'a' * 10 ** 9 }}",
    "centre": "{{ 'x' | center(10 ** 9) }}",
    "format": "{{ '%1000000000d' % 1 }}",
    "doubling": "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "output": "{{ 'x' * 3000000 }}",
    "nesting": "{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}",
    "source": "x" * 600_000,
}


@pytest.mark.parametrize("jinja", [*JINJA.values(), *FEATURES.values()], ids=[*JINJA, *FEATURES])
def test_the_sandbox_renders_as_the_tokenizer(jinja: str) -> None:
    from llm.encoding.template_sandbox import render

    tokenizer: Any = bpe_tokenizer()
    for opens in (False, True):
        theirs = tokenizer.apply_chat_template(
            MESSAGES, tokenize=False, chat_template=jinja, add_generation_prompt=opens
        )
        assert render(jinja, MESSAGES, {**tokenizer.special_tokens_map, "add_generation_prompt": opens}) == theirs


def test_errors_of_a_template_are_those_of_the_tokenizer() -> None:
    from llm.encoding.template_sandbox import RefusedError, render

    for jinja, message in (
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% set n = namespace() %}{% set n._x = 1 %}", "underscore"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% for", "unexpected"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ):
        with pytest.raises(RefusedError, match=message):
            render(jinja, MESSAGES, {})


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_template_bomb_is_killed(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from llm.encoding import template_sandbox

    monkeypatch.setattr(template_sandbox, "SECONDS", 2)
    template_sandbox._process.end()  # the next one is given less time
    began = time.perf_counter()
    with pytest.raises(TemplateError, match="the chat template (takes|writes|recurses|has)"):
        template_sandbox.render(BOMBS[bomb], MESSAGES, {})
    assert time.perf_counter() - began < 10
    assert template_sandbox.render("{{ messages[2].content }}", MESSAGES, {}) == "A cat."  # the next one is rendered


def test_a_folder_with_an_endless_template_raises(tiny_llama: Path, tmp_path: Path) -> None:
    """In any thread, as pages load models; SIGALRM would not do."""
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (folder / "chat_template.jinja").write_text(LONG)
    told: list[str] = []

    def load() -> None:
        try:
            load_template("auto", load_tokenizer(str(folder)))
        except TemplateError as error:
            told.append(str(error))

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert not thread.is_alive(), "still rendering"
    assert len(told) == 1 and "takes longer than" in told[0]


def test_a_forked_process_has_a_renderer_of_its_own() -> None:
    from llm.encoding import template_sandbox

    assert template_sandbox.render("{{ 1 }}", MESSAGES, {}) == "1"
    reads, writes = os.pipe()
    if not (child := os.fork()):
        try:
            ours = template_sandbox._process._running
            text = template_sandbox.render("{{ 2 }}", MESSAGES, {})
            os.write(writes, json.dumps([ours is None, text]).encode())
            template_sandbox._process.end()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert json.loads(os.read(reads, 100)) == [True, "2"]
    assert template_sandbox.render("{{ 3 }}", MESSAGES, {}) == "3"
