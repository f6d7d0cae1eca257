"""The result of an attack."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AttackResult:
    """One guarantee of docs and SECURITY.md: whether it held, and the measured figure."""

    name: str
    held: bool
    figure: str
