"""The chat template as llama.cpp's server reads it."""

from llm.encode import Encoder

# The server writes a picture as `<__media_...__>` straight before the text behind it, in one string; training saw a
# picture on a line of its own.
_LINES = r"""
{%- set media = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- if message['content'] is string and '<__media' in message['content'] -%}
{%- set content = message['content'] | replace('__>\n', '__>') | replace('__>', '__>\n') -%}
{%- set media.messages = media.messages + [{'role': message['role'], 'content': content}] -%}
{%- else -%}
{%- set media.messages = media.messages + [message] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = media.messages %}
""".lstrip()


def llama_cpp_jinja(encoder: Encoder) -> str:
    """The run's chat template; where it sees, for messages whose pictures are llama.cpp's marks."""
    jinja = encoder.template.jinja
    return jinja if encoder.image_id is None else _LINES + jinja
