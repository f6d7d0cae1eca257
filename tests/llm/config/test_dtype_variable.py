"""`EYEGRAFT_DTYPE`: its values, and what is refused."""

import pytest

from llm.config.dtype_variable import VARIABLE, asked_dtype
from llm.errors import ConfigError


@pytest.mark.parametrize(("value", "asked"), [("fp32", "fp32"), (" BF16 ", "bf16"), ("", None), ("auto", None)])
def test_values(value: str, asked: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked_dtype({VARIABLE: value}) == asked
    monkeypatch.setenv(VARIABLE, value)
    assert asked_dtype() == asked


def test_without_it_nothing_is_asked() -> None:
    assert asked_dtype({}) is None


def test_another_value_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="EYEGRAFT_DTYPE is fp16: write fp32 or bf16, or leave it unset"):
        asked_dtype({VARIABLE: "fp16"})
