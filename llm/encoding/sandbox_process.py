"""The child process of template_sandbox.py, in which untrusted chat templates are rendered.

Run by its path; it imports jinja2 alone, so that it starts in 0.2 s. The system kills it when a rendering takes too
long and refuses it more memory than `MEMORY`. JSON lines: one request a line on stdin, one reply a line on stdout. It
ends with its input.
"""

import json
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any, TextIO

from jinja2 import Environment, Template, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MEMORY = 2**29  # bytes of address space
COMPILED = 32  # compiled templates in the cache


class Clock:
    """The time as templates see it: the same for all renderings of one request."""

    now = datetime.min  # set at the start of each request


class Generation(Extension):
    """`{% generation %}`: in transformers it marks answers for a loss mask; here its body is rendered unchanged."""

    tags = {"generation"}  # noqa: RUF012  # as jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        """The body in a scope of its own, as in transformers."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_inside"), [], [], body).set_lineno(line)

    def _inside(self, caller: Callable[[], object]) -> str:
        return str(caller())


class PlainNamespace(Namespace):
    """jinja's namespace without names that begin with an underscore."""

    def __init__(*args: object, **kwargs: object) -> None:  # so that `namespace(self=...)` works, as in jinja
        self, args = args[0], args[1:]
        values = dict(*args, **kwargs)
        for name in values:
            _refuse_private(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: object) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)


class PlainDict:
    """`dict(...)` and `dict.fromkeys(...)`, and nothing else of the type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """A new dict."""
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """A dict with one value for all keys."""
        return dict.fromkeys(*args, **kwargs)


def make_environment() -> Environment:
    """jinja as transformers configures it (5.23, utils/chat_template_utils.py); a test compares their output."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _raise,
        "strftime_now": lambda form: Clock.now.strftime(form),
        "dict": PlainDict(),
        "namespace": PlainNamespace,
    }
    return environment


def main(seconds: int, longest: int, out: TextIO) -> None:
    """Answer requests until the input ends. SIGALRM keeps its default action, which kills the process at once."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _send("ready", out)
    for line in sys.stdin:
        asked = json.loads(line)
        Clock.now = datetime.now()
        signal.alarm(seconds)
        reply = _reply(**asked, longest=longest + 4 * len(line))
        signal.alarm(0)
        _send(reply, out)


def _send(line: str, out: TextIO) -> None:
    out.write(line + "\n")
    out.flush()


def _reply(
    template: str, messages: list[Any], values: dict[str, Any], parts: list[tuple[int, bool]], longest: int
) -> str:
    """One text for each of `parts`: of the first messages, with or without a generation prompt."""
    try:
        ready = compiled(template)
        texts = [
            ready.render(messages=messages[:count], add_generation_prompt=prompts, **values) for count, prompts in parts
        ]
    except MemoryError:
        return json.dumps({"limit": "takes more memory than it may"})
    except RecursionError:
        return json.dumps({"limit": "recurses without end"})
    except (TemplateError, TypeError) as error:
        return json.dumps({"refused": str(error)})
    except (ValueError, LookupError, ArithmeticError, AttributeError, SyntaxError, AssertionError) as error:
        return json.dumps({"refused": f"{type(error).__name__}: {error}"})
    most = max(texts, key=len)
    if len(most) > longest:
        return json.dumps({"limit": f"writes {len(most):,} characters, more than {longest:,}"})
    # As a rule they are prefixes of the longest, of which the number of characters is enough.
    return json.dumps({"longest": most, "texts": [len(text) if most.startswith(text) else text for text in texts]})


@lru_cache(COMPILED)
def compiled(source: str) -> Template:
    """A compiled template."""
    return make_environment().from_string(source)


def _raise(message: str) -> None:
    raise TemplateError(message)


def _refuse_private(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"Chat templates cannot store underscore-prefixed attributes on a namespace: {name!r}")


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without the HTML escapes of jinja's own filter."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


if __name__ == "__main__":
    replies, sys.stdout = sys.stdout, sys.stderr  # a template that prints cannot write replies
    with suppress(KeyboardInterrupt):
        main(int(sys.argv[1]), int(sys.argv[2]), replies)
