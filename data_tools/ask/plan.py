"""What is asked of whom and what becomes of it: the options understood."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from data_tools.ask.answer_rows import BadAnswer, Form
from data_tools.ask.api_key import read_secret
from data_tools.ask.client import Server
from data_tools.ask.options import (
    OPENAI,
    Options,
    check_fit,
    check_out,
    check_url,
    read_instruction,
    read_prompt,
    read_settings,
)
from data_tools.ask.questions import Question, picture_questions, read_questions, without_repeats
from data_tools.ask.rate_limit import DEFAULT_PATIENCE, Patience
from llm.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything a run needs; made by `prepare`."""

    questions: tuple[Question, ...]
    repeats: int  # questions left out because they stand there twice
    out: Path
    model: str
    server: Server
    form: Form
    system: str = ""  # what is sent; `form.system` is what is stored
    settings: dict[str, object] = field(default_factory=dict)
    images: str = ""  # the folder that the rows' images are relative to
    max_side: int = 1024
    workers: int = 4
    per_minute: float = 0.0
    limit: int = 0
    patience: Patience = DEFAULT_PATIENCE

    def key(self, question: Question) -> str:
        """What the answer depends on: the same key is never asked twice. Where the server stands is not part of it."""
        shown = [question.digest, self.max_side] if question.image else []
        asked = [self.model, self.system, question.text, shown, self.settings]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def prepare(source: Path, out: Path, options: Options) -> Plan:
    """The plan for a file of questions or a folder of pictures. ConfigError or DataError for what cannot be asked."""
    pictures = source.is_dir()
    check_fit(options, pictures)
    system = read_prompt(Path(options.system), "--system") if options.system else ""
    form = Form(system if options.keep_system else "", options.question, options.turns)
    out, settings, server = check_out(out, source), read_settings(options.set), _server(options)
    if pictures:
        questions = picture_questions(source, form.wording(read_instruction(options.instruction)))
    else:
        questions = read_questions(source, options.field)
    once = without_repeats(questions)
    _check(once, form)
    return Plan(
        questions=tuple(once),
        repeats=len(questions) - len(once),
        out=out,
        model=options.model,
        server=server,
        form=form,
        system=system,
        settings=settings,
        images=str(source) if pictures else "",
        max_side=options.max_side,
        workers=options.workers,
        per_minute=options.per_minute,
        limit=options.limit,
        patience=Patience(options.retries),
    )


def _server(options: Options) -> Server:
    url, key = check_url(options.base_url), read_secret(options.key_env)
    if url == OPENAI and not key.value:
        raise ConfigError(f"{url}: needs a key. Put it into {options.key_env}, or name another server with --base-url")
    return Server(url, key, options.key_env, options.timeout)


def _check(questions: list[Question], form: Form) -> None:
    for question in questions:
        try:
            form.check(question)
        except BadAnswer as error:
            raise DataError(f"{question.name}: {error}. No answer makes this a row: correct the question") from error
