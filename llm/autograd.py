"""The context of autograd functions, typed: what torch passes to `forward` and `backward` as their first argument."""

from typing import Protocol

from torch import Tensor


class Context(Protocol):
    """Tensors saved by `forward` for `backward`. Functions that save other values declare them in a subclass."""

    needs_input_grad: tuple[bool, ...]

    @property
    def saved_tensors(self) -> tuple[Tensor, ...]:
        """As they were saved; a saved None is None here, whatever the type says."""

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Save inputs and outputs; called at most once."""
