"""The process in which chat templates of other people are rendered: a child of template_sandbox.py.

It is run by its path and imports jinja2 alone, so that it starts in a fifth of a second. A template may compute for as
long and hold as much as it likes: the system ends this process when it has had its time, and gives it no more memory.
One request a line in, one reply a line out, as JSON; it ends with its input.
"""

import json
import resource
import signal
import sys
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
COMPILED = 32  # templates that are kept


class Generation(Extension):
    """`{% generation %}`: marks answers for those who ask for a mask of them; what is inside is rendered as it is."""

    tags = {"generation"}  # noqa: RUF012  # jinja's own way

    def parse(self, parser: Parser) -> nodes.Node:
        """The body in a scope of its own, as transformers has it."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_inside"), [], [], body).set_lineno(line)

    def _inside(self, caller: Any) -> str:
        return str(caller())


class PlainNamespace(Namespace):
    """jinja's namespace without names that begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that `namespace(self=...)` works, as jinja has it
        self, args = args[0], args[1:]
        values = dict(*args, **kwargs)
        for name in values:
            _refuse_private(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)


class PlainDict:
    """`dict(...)` and `dict.fromkeys(...)`, and nothing else of the type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """A new one."""
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """One value under many keys."""
        return dict.fromkeys(*args, **kwargs)


def environment() -> Environment:
    """jinja as transformers sets it up (5.23, utils/chat_template_utils.py); the tests compare what both write."""
    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    made.filters["tojson"] = _to_json
    made.globals |= {
        "raise_exception": _raise,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": PlainDict(),
        "namespace": PlainNamespace,
    }
    return made


def main(seconds: int, longest: int, out: TextIO) -> None:
    """Answer requests until the input ends. SIGALRM is not handled: it ends the process, whatever it is doing."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGALRM,))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _send("ready", out)
    for line in sys.stdin:
        asked = json.loads(line)
        signal.alarm(seconds)
        reply = _reply(asked["template"], asked["values"], longest + 4 * len(line))
        signal.alarm(0)
        _send(reply, out)


def _send(line: str, out: TextIO) -> None:
    out.write(line + "\n")
    out.flush()


def _reply(source: str, values: dict[str, Any], longest: int) -> str:
    try:
        text = compiled(source).render(**values)
    except MemoryError:
        return json.dumps({"limit": "takes more memory than it is given"})
    except RecursionError:
        return json.dumps({"limit": "calls itself without end"})
    except (TemplateError, TypeError) as error:
        return json.dumps({"refused": str(error)})
    except (ValueError, LookupError, ArithmeticError, AttributeError, SyntaxError, AssertionError) as error:
        return json.dumps({"refused": f"{type(error).__name__}: {error}"})
    if len(text) > longest:
        return json.dumps({"limit": f"writes {len(text):,} characters, more than {longest:,}"})
    return json.dumps({"text": text})


@lru_cache(COMPILED)
def compiled(source: str) -> Template:
    """A template, ready to render."""
    return environment().from_string(source)


def _raise(message: str) -> None:
    raise TemplateError(message)


def _refuse_private(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"Chat templates cannot store underscore-prefixed attributes on a namespace: {name!r}")


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """jinja's own escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


if __name__ == "__main__":
    replies, sys.stdout = sys.stdout, sys.stderr  # whatever prints does not speak for us
    with suppress(KeyboardInterrupt):
        main(int(sys.argv[1]), int(sys.argv[2]), replies)
