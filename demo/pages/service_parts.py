"""What the page shows in a service, which has other pages beside it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceParts:
    """What only a service knows.

    Attributes:
        train_address: The address of the Train page with a data file chosen, by the name that the page lists it under;
            empty for a file that is no longer there.
    """

    train_address: Callable[[str], str]
