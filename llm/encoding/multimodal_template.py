"""A chat template that also accepts message content as a list of text and image parts, as processors pass it."""

_FLATTEN = r"""
{%- set ns = namespace(messages=[], text='', gap='') -%}
{%- for message in messages -%}
{%- if message['content'] is iterable and message['content'] is not string -%}
{%- set ns.text = '' -%}{%- set ns.gap = '' -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}
{%- set ns.text = ns.text + ns.gap + '<image>' -%}{%- set ns.gap = '\n' -%}
{%- elif part['type'] != 'text' -%}
{{- raise_exception('content of type ' + part['type'] + ' is not known; known are image and text') -}}
{%- elif part['text'] -%}
{%- set ns.text = ns.text + ('' if part['text'].startswith('\n') else ns.gap) + part['text'] -%}{%- set ns.gap = '' -%}
{%- endif -%}
{%- endfor -%}
{%- set ns.messages = ns.messages + [dict(message, content=ns.text + ns.gap)] -%}
{%- else -%}
{%- set ns.messages = ns.messages + [message] -%}
{%- endif -%}
{%- endfor -%}
{%- set messages = ns.messages %}
""".lstrip()


def multimodal_jinja(jinja: str) -> str:
    """The chat template with content lists of `{"type": "image"}` and `{"type": "text", "text": ...}` allowed.

    An image becomes `<image>` and a line break, unless the text after it begins with one. Applying it twice changes
    nothing.
    """
    return jinja if jinja.startswith(_FLATTEN) else _FLATTEN + jinja
