"""The limits of a server as options, which serve, web and service share."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, cast, get_type_hints

import typer

if TYPE_CHECKING:
    from demo.server.limits import Limits

MIB, GIB = 2**20, 2**30


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """The options; their defaults are those of `demo.server.limits`, which a test compares."""

    queue: Annotated[int, typer.Option(min=0, max=200, help="Requests that may wait; further ones get 429.")] = 24
    together: Annotated[int, typer.Option(min=1, max=64, help="Requests for one model that are answered at once.")] = 8
    max_new_tokens: Annotated[
        int, typer.Option(min=1, max=2**20, help="Tokens of an answer; a request may ask for fewer.")
    ] = 4096
    max_messages: Annotated[int, typer.Option(min=1, max=2000, help="Messages of a conversation.")] = 200
    max_characters: Annotated[
        int, typer.Option(min=1, max=10_000_000, help="Characters of a conversation or of a text to continue.")
    ] = 100_000
    max_images: Annotated[int, typer.Option(min=0, max=32, help="Images of a message.")] = 4
    max_image_mib: Annotated[int, typer.Option(min=1, max=64, help="MiB of an image as it is sent.")] = 10
    model_memory: Annotated[
        float, typer.Option(min=0, help="GiB that all models may take; 0: what the device has free.")
    ] = 0.0

    def limits(self, public: bool) -> "Limits":
        """The limits of a server; of a public one, where no visitor gets more than a share."""
        from dataclasses import replace

        from demo.server.limits import DEFAULT, IMAGE, fitting, public_limits

        chosen = replace(
            DEFAULT,
            waiting=self.queue,
            together=self.together,
            new_tokens=self.max_new_tokens,
            model_memory=int(self.model_memory * GIB),
            messages=self.max_messages,
            text=self.max_characters,
            images=self.max_images,
            image=replace(IMAGE, max_bytes=self.max_image_mib * MIB),
        )
        return public_limits(fitting(chosen)) if public else fitting(chosen)


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """The command with each limit as an option of its own, in place of its parameter `limits`."""
    signature, annotations = inspect.signature(command), get_type_hints(LimitOptions, include_extras=True)
    options = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotations[field.name]
        )
        for field in fields(LimitOptions)
    ]
    others = [parameter for name, parameter in signature.parameters.items() if name != "limits"]

    @functools.wraps(command)
    def run(*given: object, **named: object) -> None:
        chosen = {one.name: cast(int, named.pop(one.name)) for one in options if one.name in named}
        command(*given, limits=LimitOptions(**chosen), **named)

    vars(run)["__signature__"] = signature.replace(parameters=[*others, *options])
    return run
