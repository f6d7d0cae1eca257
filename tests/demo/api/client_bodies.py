"""Bodies as chat programs and libraries send them to an OpenAI-compatible address.

Each is the second request of a chat: a question, an answer, a question; about an image where the client sends images.
Every one was compared with its program's source: SOURCES names repository, commit and file, read in November 2026. Keys
that a program leaves undefined are not in its JSON. `make clients` runs LangChain, LiteLLM and OpenAI's SDK themselves.
"""

from typing import Any

Body = dict[str, Any]
# Of the programs: where a body is put together.
SOURCES = {
    "OpenAI SDK for Node": "openai/openai-node 7b7d6ca: src/resources/chat/completions/completions.ts",
    "Open WebUI": "open-webui/open-webui 004a45f: backend/open_webui/routers/openai.py and utils/payload.py",
    "LibreChat": "danny-avila/LibreChat 00b3bc3: packages/api/src/endpoints/openai/llm.ts; "
    "LibreChat-AI/agents b812c5a: src/messages/format.ts",
    "NextChat": "ChatGPTNextWeb/NextChat 706a18b: app/client/platforms/openai.ts and app/store/config.ts",
    "Continue": "continuedev/continue d0a3c0b: core/llm/openaiTypeConverters.ts and "
    "packages/openai-adapters/src/apis/OpenAI.ts",
    "LobeChat": "lobehub/lobe-chat 013f730: packages/model-runtime/src/core/openaiCompatibleFactory/index.ts and "
    "core/contextBuilders/openai.ts",
    "AnythingLLM": "Mintplex-Labs/anything-llm 72aabbd: server/utils/AiProviders/genericOpenAi/index.js",
    "Chatbox": "chatboxai/chatbox 0d3139e: src/shared/models/openai-compatible.ts (it calls the AI SDK)",
    "Cherry Studio": "CherryHQ/cherry-studio 0c3059e: src/renderer/src/aiCore/legacy/clients/openai/OpenAIApiClient.ts",
    "Jan": "janhq/jan 00647fe: web-app/src/lib/model-factory.ts and predefinedParams.ts (it calls the AI SDK)",
    "SillyTavern": "SillyTavern/SillyTavern ba6f7b7: public/scripts/openai.js and "
    "src/endpoints/backends/chat-completions.js",
    "Vercel AI SDK": "vercel/ai ed857f5: packages/openai-compatible/src/chat/",
    "Cline": "cline/cline 0162b82: src/core/api/providers/openai.ts and transform/openai-format.ts",
    "Zed": "zed-industries/zed 014676e: crates/open_ai/src/open_ai.rs",
    "LangChain": "langchain-openai 1.7.4: recorded",
    "LiteLLM": "litellm 1.110.2: recorded",
}
SYSTEM = {"role": "system", "content": "Be brief."}
ASKED, ANSWERED, AGAIN = ({"role": role, "content": text} for role, text in (
    ("user", "What is it?"), ("assistant", "A cat."), ("user", "And then?"),
))  # fmt: skip
TALK = [ASKED, ANSWERED, AGAIN]
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
# What our own API answers, as client libraries hold and send it back.
OWN: Body = {
    "role": "assistant", "content": "A cat.", "refusal": None, "annotations": [], "audio": None,
    "function_call": None, "tool_calls": None,
}  # fmt: skip


def part(text: str) -> Body:
    """A part of a message."""
    return {"type": "text", "text": text}


def shown(url: str, **more: object) -> Body:
    """A question about an image."""
    return {"role": "user", "content": [part("What is it?"), {"type": "image_url", "image_url": {"url": url, **more}}]}


def bodies(url: str) -> dict[str, Body]:
    """The bodies by client, without the model; `url` is an image as a data URL."""
    return programs(url) | libraries(url)


def programs(url: str) -> dict[str, Body]:
    """The bodies of chat programs."""
    return {
        "Open WebUI": {"messages": [SYSTEM, shown(url), ANSWERED, AGAIN], **USAGE},
        "Open WebUI, parameters": {
            "messages": [SYSTEM, *TALK], "stream": True, "temperature": 0.8, "top_p": 0.9, "max_tokens": 128,
            "frequency_penalty": 0.0, "presence_penalty": 0.0, "seed": 0, "stop": ["##"], "logit_bias": {},
            # It sends parameters of Ollama to every service.
            "top_k": 40, "repeat_penalty": 1.1, "mirostat": 0, "mirostat_eta": 0.1, "mirostat_tau": 5.0, "tfs_z": 1,
            "num_ctx": 4096, "num_keep": 24, "use_mmap": True, "keep_alive": "5m", "think": False,
        },
        "Open WebUI, title of a chat": {"messages": [ASKED], "stream": False},
        "LibreChat": {
            "messages": [SYSTEM, ASKED, {"role": "assistant", "content": [part("A cat.")]}, AGAIN], "user": "65f0c2",
            "temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, **USAGE,
        },
        "LibreChat, image": {
            "messages": [shown(url, detail="auto") | {"name": "Ann"}, ANSWERED, AGAIN], "user": "65f0c2", **USAGE,
        },
        "NextChat": {
            "messages": TALK, "stream": True, "temperature": 0.5, "presence_penalty": 0, "frequency_penalty": 0,
            "top_p": 1,
        },
        "NextChat, image": {
            "messages": [shown(url), ANSWERED, AGAIN], "stream": True, "temperature": 0.5, "presence_penalty": 0,
            "frequency_penalty": 0, "top_p": 1, "max_tokens": 4000,
        },
        "Continue": {
            "messages": [SYSTEM, ASKED, {"role": "assistant", "content": [part("A cat.")]}, AGAIN], "max_tokens": 4096,
            "temperature": 0.5, **USAGE,
        },
        "Continue, after an error": {"messages": [ASKED, {"role": "assistant", "content": " "}, AGAIN], **USAGE},
        "LobeChat": {
            "messages": [SYSTEM, *TALK], "temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0,
            "user": "u-1", **USAGE,
        },
        "AnythingLLM": {
            "messages": [SYSTEM, ASKED, ANSWERED, shown(url, detail="high")], "temperature": 0.7, "max_tokens": 1024,
            "stream": True,
        },
        "Chatbox": {"messages": [SYSTEM, *TALK], "temperature": 0.7, "top_p": 1, "stream": True},
        "Cherry Studio": {
            "messages": [SYSTEM, shown(url), ANSWERED, AGAIN], "temperature": 1, "top_p": 1, "max_tokens": 4096,
            **USAGE,
        },
        "Jan": {
            "messages": TALK, "temperature": 0.7, "top_p": 0.95, "top_k": 2, "max_output_tokens": 2048,
            "ctx_len": 8192, "frequency_penalty": 0, "presence_penalty": 0, **USAGE,
        },
        "SillyTavern": {
            "messages": [
                {"role": "system", "content": "Be Ann."}, {"role": "system", "content": "[Start a new Chat]"},
                {"role": "assistant", "content": "Hi!"}, ASKED, {"role": "system", "content": "Stay in character."},
            ],
            "temperature": 1, "max_tokens": 300, "stream": True, "presence_penalty": 0, "frequency_penalty": 0,
            "top_p": 1, "stop": [], "logit_bias": {}, "seed": 7,
        },
        "Cline": {
            "messages": [SYSTEM, shown(url), ANSWERED, {"role": "user", "content": [part("And then?")]}],
            "temperature": 0, **USAGE,
        },
        "Zed": {"messages": [SYSTEM, *TALK], "max_completion_tokens": 4096, "temperature": 1.0, **USAGE},
    }  # fmt: skip


def libraries(url: str) -> dict[str, Body]:
    """The bodies of libraries, and of what no program stands for."""
    return {
        "curl, OpenAI's quickstart": {"messages": [{"role": "developer", "content": "Be brief."}, *TALK]},
        "Vercel AI SDK": {
            "messages": [SYSTEM, shown(url), ANSWERED, AGAIN], "max_tokens": 64, "temperature": 0, **USAGE,
        },
        "LangChain": {
            "messages": [
                {"content": "Be brief.", "role": "system"}, {"content": "What is it?", "role": "user"},
                {"content": "A cat.", "role": "assistant"}, {"content": "And then?", "role": "user"},
            ],
            "stream": False, "temperature": 0.7, "max_completion_tokens": 64,
        },
        "LiteLLM": {"messages": TALK, "temperature": 0.2},
        "OpenAI SDK for Node": {
            "messages": [ASKED, OWN, AGAIN], "stream": False, "parallel_tool_calls": True, "service_tier": "auto",
            "safety_identifier": "h-1", "prompt_cache_key": "k", "verbosity": "medium", "modalities": ["text"],
            "response_format": {"type": "text"}, "store": False, "metadata": None, "n": 1, "logprobs": False,
        },
        "two devices at once": {"messages": [ASKED, AGAIN]},
        "Agents that speak of the Responses API": {
            "messages": [{"role": "user", "content": [{"type": "input_text", "text": "What is it?"},
                                                      {"type": "input_image", "image_url": url, "detail": "auto"}]},
                         {"type": "message", "role": "assistant", "status": "completed", "phase": "final_answer",
                          "content": [{"type": "output_text", "text": "A cat.", "annotations": []}]},
                         AGAIN],
        },
    }  # fmt: skip
