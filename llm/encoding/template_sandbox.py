"""Render untrusted chat templates with bounds on time, memory and output.

jinja's sandbox blocks files and attributes, but not nested loops, `9 ** 9 ** 9` or `'%999999999d'`, and a process
cannot interrupt such a step of C in itself. Templates are therefore rendered in a child process, started on first use
(about 0.2 s), which the system kills when its time is up.
"""

import atexit
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from llm.errors import TemplateError

SECONDS = 5  # for one rendering; usual templates take less than a millisecond
LONGEST_TEMPLATE = 2**19  # characters; the longest published ones have about 20,000
LONGEST_TEXT = 2**20  # characters of output, in addition to four times those of the messages
READY = "ready\n"  # the first line of the child process
SCRIPT = Path(__file__).with_name("sandbox_process.py")


class RefusedError(Exception):
    """The template raises an error for these messages, or is not valid jinja; the message is its own."""


def render(template: str, messages: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> str:
    """The text of the messages, as the tokenizer's `apply_chat_template` renders it.

    `values` are special tokens and settings by name. Raises RefusedError where the template raises an error,
    TemplateError where the template or its output is too long, or rendering takes too much time or memory.
    """
    prompts = bool(values.get("add_generation_prompt"))
    rest = {name: value for name, value in values.items() if name != "add_generation_prompt"}
    return render_parts(template, messages, rest, [(len(messages), prompts)])[0]


def render_parts(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    values: Mapping[str, Any],
    parts: Sequence[tuple[int, bool]],
) -> list[str]:
    """`render` for several prefixes of the messages, at the cost of one request to the child process.

    Each of `parts` is a number of messages, and whether they are followed by a generation prompt.
    """
    if len(template) > LONGEST_TEMPLATE:
        raise TemplateError(
            f"the chat template has {len(template):,} characters, more than {LONGEST_TEMPLATE:,}. Set data.template"
        )
    given = {"tools": None, "documents": None, **values}
    request = {"template": template, "messages": list(messages), "values": given, "parts": list(parts)}
    reply = _process.ask(request)
    if "refused" in reply:
        raise RefusedError(reply["refused"])
    if "limit" in reply:
        raise TemplateError(f"the chat template {reply['limit']}. Do not trust its folder, or set data.template")
    longest = reply["longest"]
    return [longest[:text] if isinstance(text, int) else text for text in reply["texts"]]


class _Process:
    """The child process that renders for this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request; one with `limit` when the system has killed the process."""
        line = json.dumps(request) + "\n"
        with self._lock:
            running = self._running or self._start()
            assert running.stdin is not None and running.stdout is not None
            with suppress(BrokenPipeError):
                running.stdin.write(line)
                running.stdin.flush()
            answer = running.stdout.readline()
            if answer.endswith("\n"):
                return dict(json.loads(answer))
            self.end()
        return {"limit": f"takes longer than {SECONDS} seconds, or more memory than it may"}

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", str(SCRIPT), str(SECONDS), str(LONGEST_TEXT)]
        running = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # so that Ctrl-C in the terminal does not reach it
        )
        assert running.stdout is not None
        if running.stdout.readline() != READY:
            running.kill()
            running.communicate()
            raise TemplateError(f"chat templates cannot be rendered; run `{shlex.join(command)}` to see why")
        self._running = running
        return running

    def end(self) -> None:
        """Kill the process."""
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
        self._running = None

    def forget(self) -> None:
        """Drop the child in a forked process: it belongs to the parent."""
        self._lock, self._running = threading.Lock(), None


_process = _Process()
atexit.register(_process.end)
os.register_at_fork(after_in_child=_process.forget)
