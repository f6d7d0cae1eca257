"""More chat templates of model families, rebuilt from their facts as in `families`.

None is a copy. They add what the first ones lack: prompts that hold end marks, answers whose frame the question begins,
alternation that is demanded, today's date, `{% generation %}`, contents in parts, and begin tokens written twice.
"""

from tests.llm.encoding.families import BOS, CHATML, GEMMA, IM, LLAMA3, QWEN3, THINK, Family, H, loop

ALTERNATES = (
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}{% endfor %}"
)
DATED = "{{ '<|im_start|>system\n## Metadata\n\nToday Date: ' + strftime_now('%d %B %Y') + '\n\n' + (messages[0]"
SMOLLM3_SYSTEM = (
    DATED + "['content'] if messages[0]['role'] == 'system' else 'You are a helpful assistant.') + '<|im_end|>\n' }}"
)
PARTS = (  # contents may be lists of parts
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}{% if m['content'] is string %}{{ m['content'] }}"
    "{% else %}{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}{{ '<image>' }}"
    "{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GENERATION = (
    "{%- for m in messages -%}{%- if m.role == 'assistant' -%}{{- '<|im_start|>assistant\n' -}}"
    "{% generation %}{{- m.content + '<|im_end|>' -}}{% endgeneration %}{{- '\n' -}}"
    "{%- else -%}{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
QWQ = (  # thoughts of all earlier answers are removed
    "{% for m in messages %}{% if m.role == 'assistant' %}{% set c = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{{ '<|im_start|>assistant\n' + c + '<|im_end|>\n' }}{% else %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
V31 = (  # DeepSeek-V3.1 closes thoughts that were never opened
    "{{ bos_token }}{% set n = namespace(s='') %}{% for m in messages %}{% if m.role == 'system' %}"
    "{% set n.s = n.s + m.content %}{% endif %}{% endfor %}{{ n.s }}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ '<｜User｜>' + m.content }}{% elif m.role == 'assistant' %}{{ '<｜Assistant｜></think>' }}"
    "{{ (m.content.split('</think>', 1)[1] if '</think>' in m.content else m.content) + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜></think>' }}{% endif %}"
)
ORION = (  # the question's frame begins the answer, with an end token before it
    "{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{% if m['role'] == 'user' %}"
    "{{ 'Human: ' + m['content'] + '\n\nAssistant: ' + eos_token }}{% elif m['role'] == 'assistant' %}"
    "{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
IDEFICS = (  # the begin mark stands before the first turn alone
    "{{ '<|im_start|>' }}{% for m in messages %}{{ m['role'] | capitalize }}{{ ': ' + m['content'] + "
    "'<end_of_utterance>\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
MAGISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set s = messages[0]['content'] %}"
    "{% set rest = messages[1:] %}{% else %}{% set s = 'Today is ' + strftime_now('%Y-%m-%d') %}"
    "{% set rest = messages %}{% endif %}{{ '[SYSTEM_PROMPT]' + s + '[/SYSTEM_PROMPT]' }}{% for m in rest %}"
    "{% if m['role'] == 'user' %}{{ '[INST]' + m['content'] + '[/INST]' }}{% else %}{{ m['content'] + eos_token }}"
    "{% endif %}{% endfor %}"
)
TWO_BOS = loop("bos_token + '[INST] ' + c + ' [/INST]'", "' ' + c + eos_token", gen="''", first=BOS + BOS)
ERNIE = ("<|begin_of_sentence|>", "<|end_of_sentence|>")
COHERE = ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>")


def pair(user: str, answer: str, system: str, gen: str, end: str, **options: str) -> str:
    """A template whose roles have a mark each before the text and one end after it."""
    return loop(f"'{user}' + c + '{end}'", f"'{answer}' + c + '{end}'", f"'{system}' + c + '{end}'", gen, **options)


MORE: dict[str, Family] = {
    "llama3.2": Family(
        loop(
            **{role: text for role, text in LLAMA3.items() if role != "system"},
            system="''",
            first=BOS
            + "{{ '<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday "
            "Date: ' + strftime_now('%d %b %Y') + '\n\n' + (messages[0]['content']|trim if messages[0]['role'] == "
            "'system' else '') + '<|eot_id|>' }}",
        ),
        H,
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
    ),
    "llama4": Family(
        pair(
            r"<|header_start|>user<|header_end|>\n\n",
            r"<|header_start|>assistant<|header_end|>\n\n",
            r"<|header_start|>system<|header_end|>\n\n",
            r"'<|header_start|>assistant<|header_end|>\n\n'",
            "<|eot|>",
            first=BOS,
        ),
        ("<|header_start|>", "<|header_end|>", "<|eot|>"),
        bos="<|begin_of_text|>",
        eos="<|eot|>",
    ),
    "magistral": Family(MAGISTRAL, ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[THINK]", "[/THINK]")),
    "mistral-alternating": Family(
        loop("'[INST] ' + c + ' [/INST]'", "' ' + c + eos_token", first=BOS).replace(
            "{% for m", ALTERNATES + "{% for m", 1
        ),
        system=False,
    ),
    "gemma-alternating": Family(
        (loop(**GEMMA)).replace("{% for m", ALTERNATES + "{% for m", 1),
        ("<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        system=False,
    ),
    "llama2-spaced": Family(TWO_BOS, system=False),
    "phi-3.5": Family(
        loop(
            r"'<|user|>\n' + c + '<|end|>\n'",
            r"'<|assistant|>\n' + c + '<|end|>\n'",
            r"'<|system|>\n' + c + '<|end|>\n'",
            last="{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
        ),
        ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        eos="<|endoftext|>",
    ),
    "phi-4-mini": Family(
        pair("<|user|>", "<|assistant|>", "<|system|>", "'<|assistant|>'", "<|end|>"),
        ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        eos="<|endoftext|>",
    ),
    "deepseek-v3.1": Family(
        V31,
        eos="<｜end▁of▁sentence｜>",
        bos="<｜begin▁of▁sentence｜>",
        plain_tokens=("<｜User｜>", "<｜Assistant｜>", *THINK),
    ),
    "deepseek-coder": Family(
        loop(
            r"'### Instruction:\n' + c + '\n'",
            r"'### Response:\n' + c + '\n<|EOT|>\n'",
            "c",
            r"'### Response:'",
            BOS + "{% if messages[0]['role'] != 'system' %}{{ 'You are an AI programming assistant.\n' }}{% endif %}",
        ),
        ("<|EOT|>",),
        eos="<|EOT|>",
        bos="<｜begin▁of▁sentence｜>",
    ),
    "glm-4-0414": Family(
        loop(
            r"'<|user|>\n' + c",
            r"'<|assistant|>\n' + c",
            r"'<|system|>\n' + c",
            "'<|assistant|>'",
            "{{ '[gMASK]<sop>' }}",
        ),
        ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"),
        eos="<|endoftext|>",
    ),
    "glm-4.6": Family(
        loop(
            r"'<|user|>\n' + c",
            r"'<|assistant|>\n<think></think>\n' + c.strip() + eos_token",
            r"'<|system|>\n' + c",
            r"'<|assistant|>\n<think></think>\n'",
            "{{ '[gMASK]<sop>' }}",
        ),
        ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"),
        eos="<|endoftext|>",
        plain_tokens=THINK,
    ),
    "yi-1.5": Family(loop(**(CHATML | {"system": "c"})), IM, eos="<|im_end|>"),
    "qwen1.5": Family(
        loop(
            **CHATML,
            before="{% if loop.first and m['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant."
            "<|im_end|>\n' }}{% endif %}",
        ),
        IM,
        eos="<|im_end|>",
    ),
    "qwen2-vl": Family(PARTS, IM, eos="<|im_end|>"),
    "qwen3-no-thinking": Family(
        QWEN3.replace(
            "assistant\n' }}{% endif %}",
            "assistant\n' }}{% if enable_thinking is not defined %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
            "{% endif %}",
        ),
        IM,
        eos="<|im_end|>",
        plain_tokens=THINK,
    ),
    "qwq-official": Family(QWQ, IM, eos="<|im_end|>", plain_tokens=THINK),
    "hunyuan": Family(
        loop(
            "'<｜hy_User｜>' + c",
            "'<｜hy_Assistant｜>' + c + eos_token",
            "c + '<｜hy_place▁holder▁no▁3｜>'",
            "'<｜hy_Assistant｜>'",
            BOS,
        ),
        ("<｜hy_User｜>", "<｜hy_Assistant｜>", "<｜hy_place▁holder▁no▁3｜>"),
        bos="<｜hy_begin▁of▁sentence｜>",
        eos="<｜hy_place▁holder▁no▁2｜>",
    ),
    "hunyuan-a13b": Family(
        loop(
            "(bos_token if loop.first or messages[loop.index0 - 1]['role'] == 'assistant' else '') + c + '<|extra_0|>'",
            "c + eos_token",
            "bos_token + c + '<|extra_4|>'",
        ),
        ("<|extra_0|>", "<|extra_4|>"),
        bos="<|startoftext|>",
        eos="<|eos|>",
    ),
    "kimi-k2": Family(
        pair(
            "<|im_user|>user<|im_middle|>",
            "<|im_assistant|>assistant<|im_middle|>",
            "<|im_system|>system<|im_middle|>",
            "'<|im_assistant|>assistant<|im_middle|>'",
            "<|im_end|>",
        ),
        ("<|im_user|>", "<|im_assistant|>", "<|im_system|>", "<|im_middle|>", "<|im_end|>"),
        eos="<|im_end|>",
    ),
    "orion": Family(ORION, system=False),
    "xverse": Family(
        loop(r"'Human: ' + c + '\n\nAssistant: '", "c + eos_token", r"c + '\n\n'", "''"), eos="<|endoftext|>"
    ),
    "aquila": Family(loop("'Human: ' + c", "'###Assistant: ' + c + eos_token", "c", "'###Assistant: '"), system=True),
    "bluelm": Family(loop("'[|Human|]:' + c", "'[|AI|]:' + c + eos_token", gen="'[|AI|]:'", first=BOS), system=False),
    "telechat": Family(
        loop("'<_user>' + c", "'<_bot>' + c + '<_end>'", "'<_system>' + c", "'<_bot>'"),
        ("<_user>", "<_bot>", "<_end>", "<_system>"),
        eos="<_end>",
    ),
    "nemotron-nano-2": Family(
        loop(
            r"'<SPECIAL_11>User\n' + c + '\n'",
            r"'<SPECIAL_11>Assistant\n' + c + '\n<SPECIAL_12>\n'",
            "''",
            r"'<SPECIAL_11>Assistant\n<think>\n'",
            r"{{ '<SPECIAL_10>System\n' + (messages[0]['content'] if messages[0]['role'] == 'system' else '') }}"
            r"{{ '\n\n' }}",
        ),
        ("<SPECIAL_10>", "<SPECIAL_11>", "<SPECIAL_12>"),
        eos="<SPECIAL_12>",
        plain_tokens=THINK,
    ),
    "granite-3": Family(
        loop(
            r"'<|start_of_role|>user<|end_of_role|>' + c + '<|end_of_text|>\n'",
            r"'<|start_of_role|>assistant<|end_of_role|>' + c + '<|end_of_text|>\n'",
            "''",
            "'<|start_of_role|>assistant<|end_of_role|>'",
            "{{ '<|start_of_role|>system<|end_of_role|>' + (messages[0]['content'] if messages[0]['role'] == 'system' "
            "else 'Today is ' + strftime_now('%B %d, %Y') + '.') + '<|end_of_text|>\n' }}",
        ),
        ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"),
        eos="<|end_of_text|>",
    ),
    "falcon3": Family(
        loop(
            r"'<|user|>\n' + c + '\n'",
            r"'<|assistant|>\n' + c + (eos_token if loop.last else eos_token + '\n')",
            r"'<|system|>\n' + c + '\n'",
            r"'<|assistant|>\n'",
        ),
        ("<|user|>", "<|assistant|>", "<|system|>"),
        eos="<|endoftext|>",
    ),
    "exaone-deep": Family(
        loop(
            r"'[|user|]' + c + '\n'",
            r"'[|assistant|]' + c.split('</thought>')[-1].lstrip('\n') + '[|endofturn|]\n'",
            r"'[|system|]' + c + '[|endofturn|]\n'",
            r"'[|assistant|]<thought>\n'",
            "{% if messages[0]['role'] != 'system' %}{{ '[|system|][|endofturn|]\n' }}{% endif %}",
        ),
        ("[|user|]", "[|assistant|]", "[|system|]", "[|endofturn|]"),
        eos="[|endofturn|]",
        plain_tokens=("<thought>", "</thought>"),
    ),
    "exaone-4": Family(
        loop(
            r"'[|user|]\n' + c + '[|endofturn|]\n'",
            r"'[|assistant|]\n' + ('<think>\n\n</think>\n\n' if loop.last else '') + c + '[|endofturn|]\n'",
            r"'[|system|]\n' + c + '[|endofturn|]\n'",
            r"'[|assistant|]\n<think>\n\n</think>\n\n'",
        ),
        ("[|user|]", "[|assistant|]", "[|system|]", "[|endofturn|]"),
        eos="[|endofturn|]",
        plain_tokens=THINK,
    ),
    "openassistant": Family(
        loop(
            "'<|prompter|>' + c + eos_token",
            "'<|assistant|>' + c + eos_token",
            "'<|system|>' + c + eos_token",
            "'<|assistant|>'",
        ),
        ("<|prompter|>", "<|assistant|>", "<|system|>"),
        eos="<|endoftext|>",
    ),
    "guanaco": Family(loop("'### Human: ' + c", "'### Assistant: ' + c + eos_token", "c", "'### Assistant:'", BOS)),
    "redpajama": Family(
        loop(r"'<human>: ' + c + '\n'", r"'<bot>: ' + c + eos_token + '\n'", gen="'<bot>:'"),
        eos="<|endoftext|>",
        system=False,
    ),
    "idefics": Family(IDEFICS, ("<|im_start|>", "<end_of_utterance>"), bos="<|im_start|>", eos="<end_of_utterance>"),
    "jamba": Family(
        loop(
            "'<|bom|><|user|> ' + c + '<|eom|>'",
            "'<|bom|><|assistant|> ' + c + '<|eom|>'",
            "'<|bom|><|system|> ' + c + '<|eom|>'",
            "'<|bom|><|assistant|>'",
            BOS,
        ),
        ("<|bom|>", "<|eom|>", "<|user|>", "<|assistant|>", "<|system|>"),
        bos="<|startoftext|>",
        eos="<|eom|>",
    ),
    "grok-2": Family(
        loop(
            r"'Human: ' + c.strip() + '<|separator|>\n\n'",
            r"'Assistant: ' + c + '<|separator|>\n\n'",
            r"'System: ' + c.strip() + '<|separator|>\n\n'",
            "'Assistant:'",
        ),
        ("<|separator|>",),
        eos="<|separator|>",
    ),
    "seed-oss": Family(
        loop(
            r"'<seed:bos>user\n' + c + '<seed:eos>'",
            r"'<seed:bos>assistant\n' + c + '<seed:eos>'",
            r"'<seed:bos>system\n' + c + '<seed:eos>'",
            r"'<seed:bos>assistant\n'",
        ),
        bos="<seed:bos>",
        eos="<seed:eos>",
        plain_tokens=("<seed:think>", "</seed:think>"),
    ),
    "ernie": Family(
        loop(
            r"'User: ' + c + '\n'",
            "'Assistant: ' + c + '<|end_of_sentence|>'",
            r"c + '\n'",
            "'Assistant: '",
            "{{ '<|begin_of_sentence|>' }}",
        ),
        ERNIE,
        bos="<s>",
    ),
    "lfm2": Family(loop(**CHATML, first=BOS), IM, bos="<|startoftext|>", eos="<|im_end|>"),
    "smollm3-dated": Family(loop(**(CHATML | {"system": "''"}), first=SMOLLM3_SYSTEM), IM, eos="<|im_end|>"),
    "apertus": Family(
        loop(
            "'<|user_start|>' + c + '<|user_end|>'",
            "'<|assistant_start|>' + c + '<|assistant_end|>'",
            "''",
            "'<|assistant_start|>'",
            BOS + "{{ '<|system_start|>' + (messages[0]['content'] if messages[0]['role'] == 'system' else 'You are "
            "Apertus.') + '<|system_end|><|developer_start|>Deliberation: disabled\nTool Capabilities: disabled"
            "<|developer_end|>' }}",
        ),
        (
            "<|system_start|>",
            "<|system_end|>",
            "<|developer_start|>",
            "<|developer_end|>",
            "<|user_start|>",
            "<|user_end|>",
            "<|assistant_start|>",
            "<|assistant_end|>",
        ),
        eos="<|assistant_end|>",
    ),
    "ling": Family(
        loop(
            "'<role>HUMAN</role>' + c + '<|role_end|>'",
            "'<role>ASSISTANT</role>' + c + '<|role_end|>'",
            "'<role>SYSTEM</role>' + c + '<|role_end|>'",
            "'<role>ASSISTANT</role>'",
        ),
        ("<|role_end|>",),
        eos="<|role_end|>",
        plain_tokens=("<role>", "</role>"),
    ),
    "dots": Family(
        loop(
            "'<|userprompt|>' + c + '<|endofuserprompt|>'",
            "'<|response|>' + c + '<|endofresponse|>'",
            "'<|system|>' + c + '<|endofsystem|>'",
            "'<|response|>'",
        ),
        ("<|userprompt|>", "<|endofuserprompt|>", "<|response|>", "<|endofresponse|>", "<|system|>", "<|endofsystem|>"),
        eos="<|endofresponse|>",
    ),
    "minimax-m2": Family(
        loop(
            r"']~b]user\n' + c + '[e~[\n'",
            r"']~b]ai\n' + c.split('</think>')[-1].strip('\n') + '[e~[\n'",
            r"']~!b[]~b]system\n' + c + '[e~[\n'",
            r"']~b]ai\n<think>\n'",
        ),
        ("]~b]", "[e~[", "]~!b["),
        eos="[e~[",
        plain_tokens=THINK,
    ),
    "minimax-text": Family(
        loop(
            r"'<beginning_of_sentence>user name=user\n' + c + '<end_of_sentence>\n'",
            r"'<beginning_of_sentence>ai name=assistant\n' + c + '<end_of_sentence>\n'",
            r"'<beginning_of_sentence>system ai_setting=assistant\n' + c + '<end_of_sentence>\n'",
            r"'<beginning_of_sentence>ai name=assistant\n'",
        ),
        ("<beginning_of_sentence>", "<end_of_sentence>"),
        eos="<end_of_sentence>",
    ),
    "generation-tags": Family(GENERATION, IM, eos="<|im_end|>"),
    "wizard": Family(
        loop(
            "'USER: ' + c + ' '",
            "'ASSISTANT: ' + c.strip() + eos_token",
            "c + ' '",
            "'ASSISTANT:'",
            "{% if messages[0]['role'] != 'system' %}{{ 'A chat. ' }}{% endif %}",
        )
    ),
    "command-a": Family(
        loop(
            "'<|START_OF_TURN_TOKEN|><|USER_TOKEN|>' + c + '<|END_OF_TURN_TOKEN|>'",
            "'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>' + c + "
            "'<|END_RESPONSE|><|END_OF_TURN_TOKEN|>'",
            "'<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|># System Preamble\n\n' + c + '<|END_OF_TURN_TOKEN|>'",
            "'<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>'",
            BOS,
        ),
        (*COHERE, "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        bos="<BOS_TOKEN>",
        eos="<|END_OF_TURN_TOKEN|>",
    ),
    "rwkv": Family(
        loop(r"'User: ' + c + '\n\n'", r"'Assistant: ' + c + '\n\n'", r"c + '\n\n'", "'Assistant:'"),
        eos="<|endoftext|>",
    ),
    "reka": Family(
        loop("'human: ' + c + ' <sep> '", "'assistant: ' + c + ' <sep> '", gen="'assistant:'"),
        ("<sep>",),
        eos="<sep>",
        system=False,
    ),
}
