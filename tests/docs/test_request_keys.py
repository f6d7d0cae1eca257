"""The tables of request keys on the page about serving say what the code does."""

import json

from docs.generate.clients import RESULT, clients
from docs.generate.hooks import PARTS
from docs.generate.request_keys import request_keys


def test_the_tables_hold_every_key() -> None:
    text = request_keys()
    assert '| `verbosity` | `"medium"` | Say in the question how long the answer should be |' in text
    assert "| `n` | `1` only | Send the request again for another answer |" in text
    assert "| `web_search_options` | only `null` | " in text and "| `min_p` |  | temperature" in text
    assert "| `messages.tool_calls` |  | The server calls no tools." in text
    assert "\n| `metadata` |\n" in text and "\n| `messages.name` |\n" in text
    assert PARTS["request keys"] is request_keys


def test_the_table_of_clients_holds_the_result() -> None:
    tried = json.loads(RESULT.read_text(encoding="utf-8"))["clients"]
    assert {one["client"] for one in tried} >= {"openai", "litellm", "langchain-openai", "inspect-ai", "lm_eval"}
    assert all(f"| `{one['client']}` | {one['version']} | " in clients() for one in tried)
    assert {outcome for one in tried for outcome in one["checks"].values()} == {"passed"}, "run: make clients"
