"""What an attack found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """One promise: whether it held, and the figure."""

    name: str
    held: bool
    figure: str
