"""Chat templates of other people, rendered with bounds on their time, their memory and what they write.

jinja's sandbox keeps a template from files and attributes, not from loops in loops, `9 ** 9 ** 9` or `'%999999999d'`,
and nothing in a process can end such a step of C. A template therefore runs in a process of its own (one a process of
ours, started when first needed in about 0.2 s), which the system ends when its time is up.
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

SECONDS = 5  # for one rendering; an honest one takes less than a thousandth of a second
LONGEST_TEMPLATE = 2**19  # characters; the longest published ones have about 20,000
LONGEST_TEXT = 2**20  # characters written, beyond a few times what the messages hold
READY = "ready\n"  # its first line
SCRIPT = Path(__file__).with_name("sandbox_process.py")


class RefusedError(Exception):
    """The template itself refuses these messages, or is none; the message is its own."""


def render(template: str, messages: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> str:
    """What the template writes for the messages, as a tokenizer's `apply_chat_template` renders it.

    `values` are special tokens and settings by name. Raises RefusedError where the template refuses, TemplateError for
    one that is longer, takes longer or writes more than any chat template needs.
    """
    if len(template) > LONGEST_TEMPLATE:
        raise TemplateError(
            f"the chat template has {len(template):,} characters, more than {LONGEST_TEMPLATE:,}. Set data.template"
        )
    given = {"messages": list(messages), "tools": None, "documents": None, **values}
    reply = _process.ask({"template": template, "values": given})
    if "refused" in reply:
        raise RefusedError(reply["refused"])
    if "limit" in reply:
        raise TemplateError(f"the chat template {reply['limit']}. Do not trust its folder; or set data.template")
    return reply["text"]


class _Process:
    """The one process that renders for this process of ours."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[str] | None = None

    def ask(self, request: dict[str, Any]) -> dict[str, str]:
        """Its reply; when the system ended it, a reply that says why."""
        line = json.dumps(request) + "\n"
        with self._lock:
            running = self._running or self._start()
            assert running.stdin is not None and running.stdout is not None
            with suppress(BrokenPipeError):
                running.stdin.write(line)
                running.stdin.flush()
            answer = running.stdout.readline()
            if answer.endswith("\n"):
                reply: dict[str, str] = json.loads(answer)
                return reply
            self.end()
        return {"limit": f"takes longer than {SECONDS} seconds, or more memory than it is given"}

    def _start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", str(SCRIPT), str(SECONDS), str(LONGEST_TEXT)]
        running = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C in the terminal is for us
        )
        assert running.stdout is not None
        if running.stdout.readline() != READY:
            running.kill()
            running.communicate()
            raise TemplateError(f"chat templates cannot be rendered; `{shlex.join(command)}` says why")
        self._running = running
        return running

    def end(self) -> None:
        """End the process."""
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
        self._running = None

    def forget(self) -> None:
        """In a process that was forked from ours: the running one is the other's."""
        self._lock, self._running = threading.Lock(), None


_process = _Process()
atexit.register(_process.end)
os.register_at_fork(after_in_child=_process.forget)
