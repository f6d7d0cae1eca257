"""mkdocs hooks: a page's line `<!-- generate: NAME -->` is replaced by that part, in either language."""

import re

from docs.generate.clients import clients
from docs.generate.commands import commands
from docs.generate.evaluators import evaluators
from docs.generate.lists import formats, recipes
from docs.generate.recipe_keys import recipe_keys
from docs.generate.request_keys import request_keys
from docs.generate.rooms import table

PARTS = {
    "clients": clients,
    "commands": commands,
    "evaluators": evaluators,
    "formats": formats,
    "recipe keys": recipe_keys,
    "recipes": recipes,
    "request keys": request_keys,
    "rooms": table,
}
MARK = re.compile(r"^<!-- generate: (.+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: object) -> str:
    """The page with its generated parts; KeyError for a part that does not exist."""
    return MARK.sub(lambda mark: PARTS[mark[1]](), markdown)
