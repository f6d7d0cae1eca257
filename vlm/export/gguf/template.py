"""The chat template as llama.cpp's server reads it."""

import json

from llm.encoding.encoder import Encoder

# The server writes a picture as `<__media_...__>` straight before the text behind it, in one string; training saw a
# picture on a line of its own.
_LINES = r"""{%- set media = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- if message['content'] is string and '<__media' in message['content'] -%}
{%- set content = message['content'] | replace('__>\n', '__>') | replace('__>', '__>\n') -%}
{%- set media.messages = media.messages + [{'role': message['role'], 'content': content}] -%}
{%- else -%}
{%- set media.messages = media.messages + [message] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = media.messages %}
"""


def llama_cpp_jinja(encoder: Encoder) -> str:
    """The run's chat template; where it sees, for messages whose pictures are llama.cpp's marks.

    Some templates open a new answer shorter than they write an old one (Qwen3: without its empty thoughts); training
    saw the latter, so its rest is put behind.
    """
    rest = json.dumps(encoder.template.generation_prompt_suffix, ensure_ascii=False)
    behind = "{%- if add_generation_prompt -%}{{- " + rest + " -}}{%- endif -%}" if rest != '""' else ""
    return ("" if encoder.image_id is None else _LINES) + encoder.template.jinja + behind
