"""Settings of generation; torch-free, so that commands and the Python API can use them before torch loads."""

import math
from dataclasses import dataclass

from llm.errors import ConfigError

# Logits are divided by the temperature, and by a very small one they overflow. Long before, at this one, two logits
# that differ in the fifth digit are a factor of e^10 different in probability: below it the likeliest token is taken.
LEAST_TEMPERATURE = 1e-6


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of one generation. The defaults decode greedily.

    Attributes:
        temperature: Divides the logits; 0, or less than 1e-6, takes the likeliest token.
        top_k: Samples among the k likeliest tokens; 0 considers all.
        top_p: Samples among the likeliest tokens whose probabilities add up to p.
        repetition_penalty: Above 1, tokens that prompt or answer already hold become less likely.
        max_new_tokens: Longest answer, in tokens.
        seed: Seed of the random draws.
        stop: Texts that end the answer; they are not part of it.

    Raises:
        ConfigError: The temperature is negative or not finite.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 256
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"temperature: found {self.temperature}; take 0 for the likeliest token, 1 to draw")
