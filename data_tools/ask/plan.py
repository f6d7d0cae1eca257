"""What is asked of whom and what becomes of it: the options understood."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from data_tools.ask.answer_rows import AnswerFormat, InvalidAnswer
from data_tools.ask.api_key import read_api_key
from data_tools.ask.client import ApiServer
from data_tools.ask.options import (
    OPENAI,
    AskOptions,
    check_fit,
    check_out,
    check_url,
    read_instruction,
    read_prompt,
    read_settings,
)
from data_tools.ask.questions import ApiQuestion, image_questions, read_questions, without_repeats
from data_tools.ask.rate_limit import DEFAULT_RETRIES, RetryPolicy
from llm.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class AskPlan:
    """Everything a run needs; made by `prepare`."""

    questions: tuple[ApiQuestion, ...]
    repeats: int  # questions left out because they stand there twice
    out: Path
    model: str
    server: ApiServer
    form: AnswerFormat
    system: str = ""  # what is sent; `form.system` is what is stored
    settings: dict[str, object] = field(default_factory=dict)
    images: str = ""  # the folder that the rows' images are relative to
    max_side: int = 1024
    workers: int = 4
    per_minute: float = 0.0
    limit: int = 0
    patience: RetryPolicy = DEFAULT_RETRIES

    def key(self, question: ApiQuestion) -> str:
        """What the answer depends on: the same key is never asked twice. Where the server stands is not part of it."""
        shown = [question.digest, self.max_side] if question.image else []
        asked = [self.model, self.system, question.text, shown, self.settings]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def prepare(source: Path, out: Path, options: AskOptions) -> AskPlan:
    """The plan for a file of questions or a folder of pictures. ConfigError or DataError for what cannot be asked."""
    pictures = source.is_dir()
    check_fit(options, pictures)
    system = read_prompt(Path(options.system), "--system") if options.system else ""
    form = AnswerFormat(system if options.keep_system else "", options.question, options.turns)
    out, settings, server = check_out(out, source), read_settings(options.set), _server(options)
    if pictures:
        questions = image_questions(source, form.wording(read_instruction(options.instruction)))
    else:
        questions = read_questions(source, options.field)
    once = without_repeats(questions)
    _check(once, form)
    return AskPlan(
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
        patience=RetryPolicy(options.retries),
    )


def _server(options: AskOptions) -> ApiServer:
    url, key = check_url(options.base_url), read_api_key(options.key_env)
    if url == OPENAI and not key.value:
        raise ConfigError(f"{url}: needs a key. Put it into {options.key_env}, or name another server with --base-url")
    return ApiServer(url, key, options.key_env, options.timeout)


def _check(questions: list[ApiQuestion], form: AnswerFormat) -> None:
    for question in questions:
        try:
            form.check(question)
        except InvalidAnswer as error:
            raise DataError(f"{question.name}: {error}. No answer makes this a row: correct the question") from error
