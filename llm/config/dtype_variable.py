"""The dtype that `EYEGRAFT_DTYPE` asks for in place of the one that the hardware is fast in."""

import os
from collections.abc import Mapping
from typing import Literal, cast, get_args

from llm.errors import ConfigError

VARIABLE = "EYEGRAFT_DTYPE"
Dtype = Literal["bf16", "fp32"]


def asked_dtype(variables: Mapping[str, str] | None = None) -> Dtype | None:
    """The value of `EYEGRAFT_DTYPE`; None where it is not set, empty or auto. Raises ConfigError for another value.

    `variables` are those of this process by default.
    """
    value = (os.environ if variables is None else variables).get(VARIABLE, "").strip().lower()
    if value in ("", "auto"):
        return None
    if value not in get_args(Dtype):
        raise ConfigError(
            f"EYEGRAFT_DTYPE is {value}: write fp32 or bf16, or leave it unset for what this machine is fast in"
        )
    return cast(Dtype, value)
