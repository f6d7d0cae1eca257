"""Patterns of module names: the same matches as `re`, in bounded time."""

import re
import time

import pytest

from llm.model.name_pattern import UnknownPatternError, compile_pattern

NAMES = [
    *("", "lm_head", "model", "model.layers.0", "model.layers.11.mlp.up_proj", "model.layers.3.self_attn.q_proj"),
    *("model.vision_tower.encoder.layers.0.self_attn.q_proj", "language_model.model.layers.2.mlp.down_proj", "q-proj"),
    *("mel", "modddel", "modelll", "modelx"),
]
# The forms that peft's examples, Unsloth, LLaMA-Factory and ms-swift write, and one of each kind of part.
PATTERNS = [
    r".*\.(q_proj|k_proj|v_proj)",
    r"(?!.*vision_tower).*\.(q_proj|up_proj)",
    r"^(?!.*(?:vision|visual)).*(?:up_proj|q_proj).*",
    r"^(language_model|model\.layers)(?=\.).*\.(q_proj|down_proj)$",
    r"(?:.*?(?:language|text).*?(?:self_attn|mlp).*?(?:q_proj|down_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|mlp)\.(?:(?:q_proj|up_proj)))",
    r"model\.layers\.([0-3]|11)\.\w+\.[a-z_]+",
    *(
        r"",
        r".",
        r"a|",
        r"lm_?head",
        r"model(\.layers)*(\.\d+)?",
        r"[^.]+",
        r"[]m-]*odel",
        r"m{1}o{0,}d{0,2}el{1,2}x{0}",
    ),
    *(r"(a|ab)*b?", r"(?:model|)\bx|q\-proj", r"\w{3}\w{2,}", r"(m|mo|mod)+el"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_matches_equal_those_of_re(pattern: str) -> None:
    fits = compile_pattern(pattern)
    assert [name for name in NAMES if fits(name)] == [name for name in NAMES if re.fullmatch(pattern, name)]


@pytest.mark.parametrize(
    "pattern", ["(.*)*" * 8 + "$x", "(a|a)*" * 20 + "b", "(((a*)*)*)*b", ".*" * 50 + "x", "(a+)+b"]
)
def test_no_pattern_takes_long(pattern: str) -> None:
    fits = compile_pattern(pattern)
    began = time.perf_counter()
    assert not fits("a" * 200)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "pattern",
    [r"(a)\1", r"\Ba", "a{,2}", "(?<=a)b", "(?i)a", "(a", "a)", "*a", "[a", "a{999}", "x" * 5000, "\\", "(?P<n>a)"],
)
def test_unsupported_parts_are_refused(pattern: str) -> None:
    with pytest.raises(UnknownPatternError):
        compile_pattern(pattern)
