"""The shares of a split, as they are written on the command line."""

import math
import re
from collections.abc import Sequence

from llm.errors import ConfigError

TRAIN, VALIDATION = "train", "validation"


def read_shares(written: Sequence[str], share: float) -> dict[str, float]:
    """Parse `name=share`; without any, `share` is that of validation. Returns shares by name.

    ConfigError unless there are two parts or more, each above 0 and together 1.
    """
    if written and share:
        raise ConfigError("--share: given together with named shares. Give one of the two")
    shares = dict(map(_named, written)) if written else {TRAIN: 1 - share, VALIDATION: share}
    if len(shares) < max(2, len(written)):
        raise ConfigError(
            f"{' '.join(written)}: two parts or more with different names are needed. Add for example train=0.9"
        )
    if not all(0 < value < 1 for value in shares.values()) or not math.isclose(sum(shares.values()), 1):
        found = " ".join(f"{name}={value:g}" for name, value in shares.items())
        raise ConfigError(f"{found}: shares must be between 0 and 1 and add up to 1. For example --share 0.1")
    return shares


def _named(written: str) -> tuple[str, float]:
    name, _, value = written.partition("=")
    try:
        share = float(value)
    except ValueError:
        share = math.nan
    if not re.fullmatch(r"[\w-]+", name) or math.isnan(share):
        raise ConfigError(f"{written}: is not NAME=SHARE. Write for example train=0.8 validation=0.1 test=0.1")
    return name, share
