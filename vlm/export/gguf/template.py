"""The chat template in the form for llama.cpp's server."""

from llm.encoding.encoder import Encoder

# The server writes an image as `<__media_...__>` directly before the text after it, in one string; in training an image
# is on a line of its own.
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
    """The run's chat template, for a vision model with llama.cpp's image marks."""
    return ("" if encoder.image_id is None else _LINES) + encoder.template.jinja
