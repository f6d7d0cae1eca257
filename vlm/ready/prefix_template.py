"""A chat template for prefix language models, whose processors have none: an answer is given them as `suffix`.

What such a processor writes around both is found by asking it once; it becomes a template of one question and one
answer, so that records are encoded, and answers found, as of any other model.
"""

import re

from llm.errors import ModelError

PROMPT, ANSWER = "question", "answer"

# {0}: the image's token; {1}: what follows the last image, or begins a text without one; {2} and {3}: what follows the
# prompt and the answer.
_JINJA = (
    "{{% for message in messages %}}{{% if message['role'] == 'user' %}}"
    "{{% set last = namespace(image=-1) %}}"
    "{{% for part in message['content'] %}}{{% if part['type'] == 'image' %}}"
    "{{% set last.image = loop.index0 %}}{{% endif %}}{{% endfor %}}"
    "{{% if last.image < 0 %}}{{{{ {1} }}}}{{% endif %}}"
    "{{% for part in message['content'] %}}{{% if part['type'] == 'image' %}}"
    "{{{{ {0} }}}}{{% if loop.index0 == last.image %}}{{{{ {1} }}}}{{% endif %}}"
    "{{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}{{{{ {2} }}}}"
    "{{% elif message['role'] == 'assistant' %}}"
    "{{% for part in message['content'] %}}{{{{ part['text'] }}}}{{% endfor %}}{{{{ {3} }}}}"
    "{{% else %}}{{{{ raise_exception('a prefix language model has no ' + message['role'] + ' messages') }}}}"
    "{{% endif %}}{{% endfor %}}"
)


def prefix_template(written: str, image_token: str, row_token: str, name: str) -> str:
    """The template of a processor that writes `written` for an image, PROMPT and the suffix ANSWER.

    Raises ModelError where the prompt or the answer is not in it as it was given.
    """
    rows = re.escape(row_token)
    found = re.fullmatch(rf"(?:{rows})+(.*){PROMPT}(.*){ANSWER}(.+)", written, re.DOTALL)
    if found is None:
        raise ModelError(
            f"{name}: its processor takes answers as `suffix` and writes {written!r}, in which the prompt and the "
            "answer are not found. Take another model"
        )
    return _JINJA.format(repr(image_token), *(repr(found[number]) for number in (1, 2, 3)))
