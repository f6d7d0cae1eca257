"""Ollama's Modelfile: the files to load, the chat template in Go's template language, and the stop tokens."""

import json

from llm.encoding.chat_template import ChatTemplate
from llm.encoding.encoder import Encoder
from llm.errors import ConfigError

ROUNDS = 3  # question-answer pairs over which the template must not change

# Ollama writes `[img-0]` for each image before the message's text; in training an image is on a line of its own.
_IMAGES = """
{{- range $message.Images }}
{{- if and (ge (len $text) 7) (eq (slice $text 0 5) "[img-") }}
{{- $end := 8 }}{{ if eq (slice $text 6 7) "]" }}{{ $end = 7 }}{{ end }}
{{- slice $text 0 $end }}{{ "\\n" }}{{ $text = slice $text $end }}
{{- end }}
{{- end }}"""


def modelfile(encoder: Encoder, files: list[str]) -> str:
    """The Modelfile for `files`, the model first. Raises ConfigError as `go_template`."""
    stops = [encoder.tokenizer.decode([number]) for number in encoder.stop_ids]
    lines = [f"FROM ./{file}" for file in files]
    lines += [f'TEMPLATE """{go_template(encoder.template, sees=encoder.image_id is not None)}"""']
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops]
    return "\n".join([*lines, "PARAMETER temperature 0", ""])  # as `eyegraft chat` answers


def go_template(template: ChatTemplate, sees: bool) -> str:
    """The chat template in Go's language: one branch for each pair of roles that can follow each other.

    White space at the ends of a text is kept even where the chat template strips it, since Go's language cannot.
    Raises ConfigError for a template whose text between two turns depends on more than their roles.
    """
    with_system = template.between(("system", *("user", "assistant") * ROUNDS))
    without = template.between(("user", "assistant") * ROUNDS)
    turns = without[1:]
    earlier, last = turns[:-2:2], template.generation_prompt(("user", *("assistant", "user") * (ROUNDS - 1)))
    if with_system[2:] != turns or earlier != turns[:1] * (ROUNDS - 1) or turns[1:-1:2] != turns[1:2] * (ROUNDS - 1):
        raise ConfigError(
            "--to ollama: what the chat template writes between two turns depends on more than their roles, which "
            "Ollama's cannot hold. Use --to gguf"
        )
    before = {
        'eq .Role "assistant"': turns[0],
        'eq .Role "system"': with_system[0],
        'eq $last "system"': with_system[1],
        'eq $last ""': without[0],
        "true": turns[1],
    }
    branches = "{{- else ".join(f"if {asked} }}}}{_text(text)}" for asked, text in before.items())
    return (
        '{{- $last := "" }}{{- range $message := .Messages }}'
        f"{{{{- {branches}{{{{- end }}}}"
        f"{{{{- $text := .Content }}}}{_IMAGES if sees else ''}{{{{- $text }}}}{{{{- $last = .Role }}}}"
        '{{- end }}{{- if ne $last "assistant" }}' + _text(last) + "{{- end }}"
    )


def _text(text: str) -> str:
    """A Go literal. JSON's escapes are valid in Go as long as no surrogate pairs are written."""
    return "{{- " + json.dumps(text, ensure_ascii=False) + " }}" if text else ""
