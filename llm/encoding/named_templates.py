"""The named chat templates, from which jinja templates are made."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NamedTemplate:
    """What a template writes for each role.

    Fields: `{s}` system text, `{u}` question, `{n}` number of the question, `{e}` the tokenizer's EOS token.
    """

    user: str
    answer: str  # before an answer
    stop: str = "{e}"  # the end mark after it, supervised
    after: str = ""  # after the end mark, context
    system: str = ""
    inside: bool = False  # the system text is part of the first question

    def jinja(self) -> str:
        """The template in jinja, as transformers expects chat templates."""
        system = _expression(self.system)
        system_part = "{%- set ns.system = " + system + " -%}" if self.inside else "{{- " + system + " -}}"
        question = _expression(self.user.replace("{u}", "{i}{u}" if self.inside else "{u}"))
        return (
            "{%- set ns = namespace(system='', round=0) -%}{%- for message in messages -%}"
            "{%- if message['role'] == 'system' -%}" + system_part + "{%- elif message['role'] == 'user' -%}"
            "{%- set ns.round = ns.round + 1 -%}{{- " + question + " -}}{%- set ns.system = '' -%}"
            "{%- else -%}{{- " + _expression(f"{self.answer}{{u}}{self.stop}{self.after}") + " -}}"
            "{%- endif -%}{%- endfor -%}"
            # A space before an answer is its own: tokenizers join the two.
            "{%- if add_generation_prompt -%}{{- " + _quote(self.answer.rstrip(" ")) + " -}}{%- endif -%}"
        )


def _expression(text: str) -> str:
    """The jinja expression for text with fields in braces."""
    content = "message['content']"
    fields = {"{s}": content, "{u}": content, "{n}": "ns.round", "{e}": "eos_token", "{i}": "ns.system"}
    quoted = _quote(text)
    for field, value in fields.items():
        quoted = quoted.replace(field, f"' ~ {value} ~ '")
    return quoted


def _quote(text: str) -> str:
    """A jinja string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


_CHATML = NamedTemplate(
    system="<|im_start|>system\n{s}<|im_end|>\n",
    user="<|im_start|>user\n{u}<|im_end|>\n",
    answer="<|im_start|>assistant\n",
    stop="<|im_end|>",
    after="\n",
)
_MISTRAL = NamedTemplate(system="{s}\n\n", inside=True, user="[INST] {u} [/INST]", answer="")
_VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. {s} "
)

NAMED_TEMPLATES: dict[str, NamedTemplate] = {
    "chatml": _CHATML,
    "internlm2_chat": _CHATML,
    "qwen_chat": _CHATML,
    "smollm2": _CHATML,
    "internlm_chat": NamedTemplate(
        system="<|System|>:{s}\n", user="<|User|>:{u}<eoh>\n", answer="<|Bot|>:", stop="<eoa>", after="\n"
    ),
    "llama2_chat": NamedTemplate(
        system="<<SYS>>\n{s}\n<</SYS>>\n\n", inside=True, user="[INST] {u} [/INST]", answer=""
    ),
    "llama3_chat": NamedTemplate(
        system="<|start_header_id|>system<|end_header_id|>\n\n{s}<|eot_id|>",
        user="<|start_header_id|>user<|end_header_id|>\n\n{u}<|eot_id|>",
        answer="<|start_header_id|>assistant<|end_header_id|>\n\n",
        stop="<|eot_id|>",
    ),
    "vicuna": NamedTemplate(system=_VICUNA, user="USER: {u} ", answer="ASSISTANT:"),
    "mistral": _MISTRAL,
    "mixtral": _MISTRAL,
    "gemma": NamedTemplate(
        system="{s}\n\n",
        inside=True,
        user="<start_of_turn>user\n{u}<end_of_turn>\n",
        answer="<start_of_turn>model\n",
        stop="<end_of_turn>",
        after="\n",
    ),
    "phi3_chat": NamedTemplate(
        system="<|system|>\n{s}<|end|>\n",
        user="<|user|>\n{u}<|end|>\n",
        answer="<|assistant|>\n",
        stop="<|end|>",
        after="\n",
    ),
    "chatglm2": NamedTemplate(system="{s}\n\n", user="[Round {n}]\n\n问：{u}\n\n", answer="答："),
    "chatglm3": NamedTemplate(system="<|system|>\n{s}", user="<|user|>\n{u}", answer="<|assistant|>\n"),
    "baichuan2_chat": NamedTemplate(system="{s}", user="<reserved_106>{u}", answer="<reserved_107>"),
    "deepseek_v2": NamedTemplate(system="{s}\n\n", user="User: {u}\n\n", answer="Assistant: "),
    "zephyr": NamedTemplate(system="<|system|>\n{s}{e}\n", user="<|user|>\n{u}{e}\n", answer="<|assistant|>\n"),
}

PLAIN = (
    "{%- for message in messages -%}{%- if message['role'] == 'assistant' -%}{{- message['content'] ~ eos_token -}}"
    "{%- else -%}{{- '<image>' * message['content'].count('<image>') if message['role'] == 'user' -}}"
    "{%- endif -%}{%- endfor -%}"
)
"""Answers with EOS, and of questions their images only: for caption pretraining and continued pretraining."""

JINJA: dict[str, str] = {name: template.jinja() for name, template in NAMED_TEMPLATES.items()} | {"plain": PLAIN}
"""Name of a template -> its jinja."""
