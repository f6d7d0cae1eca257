"""Chat templates of model families, rebuilt from their facts: marks, openings, spaces, what they strip and where.

None is a copy. `{c}` is the text of a turn; in `jinja()` each role has one expression of pieces and variables.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """A template, and the tokens it needs; begin and end token are `bos` and `eos`."""

    jinja: str
    tokens: tuple[str, ...] = ()
    bos: str = "<s>"
    eos: str = "</s>"
    plain_tokens: tuple[str, ...] = ()  # added tokens that are not special
    system: bool = True  # whether it takes a system prompt


def loop(
    user: str, answer: str, system: str = "", gen: str = "''", first: str = "", last: str = "", before: str = ""
) -> str:
    """A template of one expression for each role; `before` comes first in the loop, `last` at the end."""
    system = "{{ " + system + " }}" if system else "{{ raise_exception('no system role') }}"
    return (
        f"{first}{{% for m in messages %}}{before}{{% set c = m['content'] %}}"
        f"{{% if m['role'] == 'system' %}}{system}"
        f"{{% elif m['role'] == 'user' %}}{{{{ {user} }}}}{{% else %}}{{{{ {answer} }}}}{{% endif %}}{{% endfor %}}"
        f"{last}{{% if add_generation_prompt %}}{{{{ {gen} }}}}{{% endif %}}"
    )


BOS = "{{ bos_token }}"
IM = ("<|im_start|>", "<|im_end|>")
CHATML = {
    "user": r"'<|im_start|>user\n' + c + '<|im_end|>\n'",
    "answer": r"'<|im_start|>assistant\n' + c + '<|im_end|>\n'",
    "system": r"'<|im_start|>system\n' + c + '<|im_end|>\n'",
    "gen": r"'<|im_start|>assistant\n'",
}
DEFAULT_SYSTEM = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are kind.<|im_end|>\n' }}{% endif %}"
)
H = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


def header(role: str, text: str = "c", end: str = "<|eot_id|>") -> str:
    """Llama 3's frame."""
    return rf"'<|start_header_id|>{role}<|end_header_id|>\n\n' + {text} + '{end}'"


LLAMA3 = {
    "user": header("user", "c|trim"),
    "answer": header("assistant", "c|trim"),
    "system": header("system", "c|trim"),
    "gen": r"'<|start_header_id|>assistant<|end_header_id|>\n\n'",
}
# Thoughts are rendered in the last answer alone; where it has none, they are empty.
QWEN3 = (
    "{% set n = namespace(asked=0) %}{% for m in messages %}{% if m.role == 'user' and not "
    "m.content.startswith('<tool_response>') %}{% set n.asked = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m.role != 'assistant' %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% else %}{% set text = m.content %}"
    "{% set thought = '' %}{% if '</think>' in text %}"
    "{% set thought = text.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{% set text = text.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{% if loop.index0 > n.asked and (loop.last or thought) %}"
    "{{ '<|im_start|>assistant\n<think>\n' + thought.strip('\n') + '\n</think>\n\n' + text.lstrip('\n') }}"
    "{% else %}{{ '<|im_start|>assistant\n' + text }}{% endif %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THINK = ("<think>", "</think>")
LLAMA2 = (
    "{% set s = namespace(t='') %}{% if messages[0]['role'] == 'system' %}{% set s.t = '<<SYS>>\n' + "
    "messages[0]['content'] + '\n<</SYS>>\n\n' %}{% set rest = messages[1:] %}{% else %}"
    "{% set rest = messages %}{% endif %}{% for m in rest %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + "
    "(s.t if loop.first else '') + m['content'].strip() + ' [/INST]' }}{% else %}"
    "{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# The system prompt moves with the last question.
MISTRAL_V3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set s = messages[0]['content'] %}"
    "{% set rest = messages[1:] %}{% else %}{% set s = '' %}{% set rest = messages %}{% endif %}"
    "{% set n = namespace(last=0) %}{% for m in rest %}"
    "{% if m['role'] == 'user' %}{% set n.last = loop.index0 %}{% endif %}{% endfor %}{% for m in rest %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + (s + '\n\n' if s and loop.index0 == n.last else '') + m['content'] + "
    "'[/INST]' }}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = {
    "user": r"'<start_of_turn>user\n' + c|trim + '<end_of_turn>\n'",
    "answer": r"'<start_of_turn>model\n' + c|trim + '<end_of_turn>\n'",
    "gen": r"'<start_of_turn>model\n'",
    "first": BOS,
}
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ m['content'] }}"
    "{% elif m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}{% else %}"
    "{{ '<｜Assistant｜>' + m['content'].split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"
)
R1_TOKENS = ("<｜User｜>", "<｜Assistant｜>")
VICUNA = "A chat between a curious user and an assistant. "
TURN = ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>")


def cohere(role: str, text: str = "c") -> str:
    """Command-R's frame."""
    return f"'<|START_OF_TURN_TOKEN|><|{role}_TOKEN|>' + {text} + '<|END_OF_TURN_TOKEN|>'"


GPT_OSS = (
    "{{ '<|start|>system<|message|>Knowledge: today<|end|>' }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ '<|start|>developer<|message|>' + m.content + '<|end|>' }}{% elif m.role == 'user' %}"
    "{{ '<|start|>user<|message|>' + m.content + '<|end|>' }}{% else %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content }}"
    "{{ '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)

FAMILIES: dict[str, Family] = {
    "chatml": Family(loop(**CHATML), IM, eos="<|im_end|>"),
    "qwen2.5": Family(loop(**CHATML, first=DEFAULT_SYSTEM), IM, eos="<|im_end|>"),
    "smollm2": Family(loop(**CHATML, first=DEFAULT_SYSTEM), IM, bos="<|im_start|>", eos="<|im_end|>"),
    "hermes": Family(loop(**CHATML, first=BOS), IM, eos="<|im_end|>"),
    "internlm2": Family(loop(**CHATML, first=BOS), IM),
    "yi": Family(loop(**CHATML), IM, eos="<|im_end|>"),
    "qwen3": Family(QWEN3, IM, eos="<|im_end|>", plain_tokens=(*THINK, "<tool_response>", "</tool_response>")),
    "qwen3-thinking": Family(
        QWEN3.replace("assistant\n' }}{% endif %}", "assistant\n<think>\n' }}{% endif %}"),
        IM,
        eos="<|im_end|>",
        plain_tokens=THINK,
    ),
    "qwq": Family(
        loop(**(CHATML | {"gen": r"'<|im_start|>assistant\n<think>\n'"})), IM, eos="<|im_end|>", plain_tokens=THINK
    ),
    "nemotron-3": Family(
        loop(
            **(
                CHATML
                | {
                    "answer": r"'<|im_start|>assistant\n' + ('' if '<think>' in c else '<think></think>') + c + "
                    r"'<|im_end|>\n'",
                    "gen": r"'<|im_start|>assistant\n<think>\n'",
                }
            )
        ),
        IM,
        eos="<|im_end|>",
        plain_tokens=THINK,
    ),
    "r1-distill": Family(
        R1, eos="<｜end▁of▁sentence｜>", bos="<｜begin▁of▁sentence｜>", plain_tokens=(*R1_TOKENS, *THINK)
    ),
    "deepseek-v3": Family(
        R1.replace("<think>\n", ""), eos="<｜end▁of▁sentence｜>", bos="<｜begin▁of▁sentence｜>", plain_tokens=R1_TOKENS
    ),
    "deepseek-v2": Family(
        loop(r"'User: ' + c + '\n\n'", "'Assistant: ' + c + eos_token", r"c + '\n\n'", "'Assistant:'", BOS),
        eos="<｜end▁of▁sentence｜>",
        bos="<｜begin▁of▁sentence｜>",
    ),
    "llama2": Family(LLAMA2),
    "llama3": Family(loop(**LLAMA3, first=BOS), H, bos="<|begin_of_text|>", eos="<|eot_id|>"),
    "llama3.1": Family(
        loop(
            **LLAMA3,
            first=BOS + "{{ '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + strftime_now('%d %b %Y') "
            "+ '\n\n<|eot_id|>' }}",
        ),
        H,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
    ),
    "mistral-v1": Family(loop("'[INST] ' + c + ' [/INST]'", "c + eos_token + ' '", first=BOS), system=False),
    "mistral-v2": Family(loop("'[INST] ' + c + ' [/INST]'", "' ' + c + eos_token", first=BOS), system=False),
    "mistral-v3": Family(MISTRAL_V3, ("[INST]", "[/INST]")),
    "mistral-tekken": Family(
        MISTRAL_V3.replace("[INST] ", "[INST]").replace("' ' + m", "m"), ("[INST]", "[/INST]", "[TOOL_CALLS]")
    ),
    "mixtral": Family(loop("' [INST] ' + c + ' [/INST]'", "' ' + c + eos_token", first=BOS), system=False),
    "vicuna": Family(loop("'USER: ' + c", "' ASSISTANT: ' + c + eos_token", "c + ' '", "' ASSISTANT:'", BOS + VICUNA)),
    "openchat": Family(
        loop(
            "'GPT4 Correct User: ' + c + '<|end_of_turn|>'",
            "'GPT4 Correct Assistant: ' + c + '<|end_of_turn|>'",
            "c + '<|end_of_turn|>'",
            "'GPT4 Correct Assistant:'",
            BOS,
        ),
        ("<|end_of_turn|>",),
        eos="<|end_of_turn|>",
    ),
    "starling": Family(
        loop(
            "'GPT4 Correct User: ' + c + '<|end_of_turn|>'",
            "'GPT4 Correct Assistant: ' + c + '<|end_of_turn|>'",
            gen="'GPT4 Correct Assistant: '",
            first=BOS,
        ),
        ("<|end_of_turn|>",),
        system=False,
    ),
    "zephyr": Family(
        loop(
            r"'<|user|>\n' + c + eos_token + '\n'",
            r"'<|assistant|>\n' + c + eos_token + '\n'",
            r"'<|system|>\n' + c + eos_token + '\n'",
            r"'<|assistant|>\n'",
        )
    ),
    "stablelm": Family(
        loop(
            r"'<|user|>\n' + c + eos_token + '\n'",
            r"'<|assistant|>\n' + c + eos_token + '\n'",
            gen=r"'<|assistant|>\n'",
        ),
        system=False,
    ),
    "tulu": Family(
        loop(
            r"'<|user|>\n' + c + '\n'",
            r"'<|assistant|>\n' + c + eos_token + ('' if loop.last else '\n')",
            r"'<|system|>\n' + c + '\n'",
            r"'<|assistant|>\n'",
        )
    ),
    "olmo": Family(
        loop(
            r"'<|user|>\n' + c + '\n'",
            r"'<|assistant|>\n' + c + eos_token + ('' if loop.last else '\n')",
            gen=r"'<|assistant|>\n'",
            first="{{ eos_token }}",
        ),
        system=False,
        eos="<|endoftext|>",
    ),
    "gemma-1": Family(loop(**GEMMA), ("<start_of_turn>", "<end_of_turn>"), bos="<bos>", eos="<eos>", system=False),
    "gemma-2": Family(loop(**GEMMA), ("<start_of_turn>", "<end_of_turn>"), bos="<bos>", eos="<eos>", system=False),
    "gemma-3": Family(
        loop(
            r"'<start_of_turn>user\n' + (messages[0]['content'] + '\n\n' if loop.index0 == 1 and "
            r"messages[0]['role'] == 'system' else '') + c|trim + '<end_of_turn>\n'",
            GEMMA["answer"],
            "''",
            GEMMA["gen"],
            BOS,
        ),
        ("<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
    ),
    "gemma-4": Family(
        loop(
            r"'<|turn>user\n' + c|trim + '<turn|>\n'",
            r"'<|turn>model\n' + c|trim + '<turn|>\n'",
            r"'<|turn>system\n' + c|trim + '<turn|>\n'",
            r"'<|turn>model\n<|channel>thought\n<channel|>'",
            BOS,
        ),
        ("<|turn>", "<turn|>", "<|channel>", "<channel|>"),
        bos="<bos>",
        eos="<eos>",
    ),
    "phi-2": Family(
        loop(r"'Instruct: ' + c + '\n'", r"'Output: ' + c + eos_token + '\n'", gen="'Output:'"), system=False
    ),
    "phi-3": Family(
        loop(
            r"'<|user|>\n' + c + '<|end|>\n'",
            r"'<|assistant|>\n' + c + '<|end|>\n'",
            r"'<|system|>\n' + c + '<|end|>\n'",
            r"'<|assistant|>\n'",
            last="{% if not add_generation_prompt %}{{ eos_token }}{% endif %}",
        ),
        ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        eos="<|endoftext|>",
    ),
    "phi-4": Family(
        loop(
            "'<|im_start|>user<|im_sep|>' + c + '<|im_end|>'",
            "'<|im_start|>assistant<|im_sep|>' + c + '<|im_end|>'",
            "'<|im_start|>system<|im_sep|>' + c + '<|im_end|>'",
            "'<|im_start|>assistant<|im_sep|>'",
        ),
        (*IM, "<|im_sep|>"),
        eos="<|im_end|>",
    ),
    "command-r": Family(
        loop(
            cohere("USER", "c.strip()"),
            cohere("CHATBOT", "c.strip()"),
            cohere("SYSTEM"),
            "'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'",
            BOS,
        ),
        TURN,
        bos="<BOS_TOKEN>",
        eos="<|END_OF_TURN_TOKEN|>",
    ),
    "aya": Family(
        loop(cohere("USER"), cohere("CHATBOT"), cohere("SYSTEM"), "'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'", BOS),
        TURN,
        bos="<BOS_TOKEN>",
        eos="<|END_OF_TURN_TOKEN|>",
    ),
    "command-r7b": Family(
        loop(
            cohere("USER"),
            cohere("CHATBOT", "'<|START_RESPONSE|>' + c + '<|END_RESPONSE|>'"),
            cohere("SYSTEM"),
            "'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_THINKING|><|END_THINKING|>'",
            BOS,
        ),
        (*TURN, "<|START_RESPONSE|>", "<|END_RESPONSE|>", "<|START_THINKING|>", "<|END_THINKING|>"),
        bos="<BOS_TOKEN>",
        eos="<|END_OF_TURN_TOKEN|>",
    ),
    "baichuan": Family(
        loop("'<reserved_106>' + c", "'<reserved_107>' + c + eos_token", "c", "'<reserved_107>'"),
        ("<reserved_106>", "<reserved_107>"),
    ),
    "chatglm3": Family(
        loop(
            r"'<|user|>\n ' + c",
            r"'<|assistant|>\n ' + c",
            r"'<|system|>\n ' + c",
            "'<|assistant|>'",
            "{{ '[gMASK]sop' }}",
        ),
        ("<|user|>", "<|assistant|>", "<|system|>"),
    ),
    "glm-4": Family(
        loop(
            r"'<|user|>\n' + c",
            r"'<|assistant|>\n' + c + '<|user|>'",
            r"'<|system|>\n' + c",
            "'<|assistant|>'",
            "{{ '[gMASK]<sop>' }}",
        ),
        ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"),
    ),
    "glm-4.5": Family(
        loop(
            r"'<|user|>\n' + c + eos_token",
            r"'<|assistant|>\n<think></think>\n' + c + eos_token",
            r"'<|system|>\n' + c",
            "'<|assistant|>'",
            "{{ '[gMASK]<sop>' }}",
        ),
        ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"),
        eos="<|endoftext|>",
        plain_tokens=THINK,
    ),
    "granite": Family(
        loop(
            r"'<|start_of_role|>user<|end_of_role|>' + c + eos_token + '\n'",
            r"'<|start_of_role|>assistant<|end_of_role|>' + c + eos_token + '\n'",
            r"'<|start_of_role|>system<|end_of_role|>' + c + eos_token + '\n'",
            "'<|start_of_role|>assistant<|end_of_role|>'",
        ),
        ("<|start_of_role|>", "<|end_of_role|>"),
        eos="<|end_of_text|>",
    ),
    "falcon": Family(
        loop(
            r"'User: ' + c.strip()", r"'\n\nFalcon: ' + c.strip() + eos_token + '\n'", r"c + '\n\n'", r"'\n\nFalcon:'"
        ),
        eos="<|endoftext|>",
    ),
    "solar": Family(
        loop(
            r"'### User:\n' + c + '\n\n'",
            r"'### Assistant:\n' + c + eos_token + '\n\n'",
            r"'### System:\n' + c + '\n\n'",
            r"'### Assistant:\n'",
        )
    ),
    "alpaca": Family(
        loop(
            r"'### Instruction:\n' + c.strip() + '\n\n'",
            r"'### Response:\n' + c.strip() + eos_token + '\n\n'",
            r"c.strip() + '\n\n'",
            r"'### Response:\n'",
            BOS,
        )
    ),
    "exaone": Family(
        loop(
            r"'[|user|]' + c + '\n'",
            r"'[|assistant|]' + c + '[|endofturn|]\n'",
            r"'[|system|]' + c + '[|endofturn|]\n'",
            "'[|assistant|]'",
        ),
        ("[|user|]", "[|assistant|]", "[|system|]", "[|endofturn|]"),
        eos="[|endofturn|]",
    ),
    "nemotron": Family(
        loop(
            r"'<extra_id_1>User\n' + c + '\n'",
            r"'<extra_id_1>Assistant\n' + c + '\n<extra_id_1>'",
            r"'<extra_id_0>System\n' + c + '\n\n'",
            r"'<extra_id_1>Assistant\n'",
        ),
        ("<extra_id_0>", "<extra_id_1>"),
    ),
    "gpt-oss": Family(GPT_OSS, ("<|start|>", "<|message|>", "<|end|>", "<|channel|>", "<|return|>"), eos="<|return|>"),
    "smollm3": Family(
        loop(
            **(
                CHATML
                | {
                    "gen": r"'<|im_start|>assistant\n<think>\n\n</think>\n'",
                    "answer": r"'<|im_start|>assistant\n<think>\n\n</think>\n' + c.lstrip('\n') + '<|im_end|>\n'",
                }
            )
        ),
        IM,
        eos="<|im_end|>",
        plain_tokens=THINK,
    ),
    "minicpm": Family(
        loop("'<用户>' + c.strip()", "'<AI>' + c.strip() + eos_token", gen="'<AI>'", first=BOS), system=False
    ),
    "jais": Family(
        loop(
            r"'### Input: [|Human|] ' + c + '\n'",
            r"'[|AI|] ' + c + eos_token + '\n'",
            r"c + '\n'",
            r"'[|AI|]'",
            "{{ '### Instruction: Answer.\n' }}",
        )
    ),
    "silent": Family(loop(CHATML["user"], CHATML["answer"], CHATML["system"]), IM, eos="<|im_end|>"),
}
