"""All Chinese texts, by their English patterns."""

from llm.i18n.chinese_chat import CHAT_MESSAGES
from llm.i18n.chinese_commands import COMMAND_MESSAGES, READY_MESSAGES
from llm.i18n.chinese_data import DATA_MESSAGES
from llm.i18n.chinese_exports import EXPORT_MESSAGES
from llm.i18n.chinese_fields import FIELD_MESSAGES, FORM_MESSAGES, VIDEO_MESSAGES
from llm.i18n.chinese_files import BOX_MESSAGES, FILE_MESSAGES, QUESTION_MESSAGES, TILE_MESSAGES
from llm.i18n.chinese_help import HELP_MESSAGES
from llm.i18n.chinese_models import MODEL_MESSAGES
from llm.i18n.chinese_recipes import PREFER_MESSAGES, RECIPE_MESSAGES
from llm.i18n.chinese_requests import DOWNLOAD_MESSAGES, HUB_MESSAGES, REQUEST_MESSAGES
from llm.i18n.chinese_schema import SCHEMA_MESSAGES
from llm.i18n.chinese_service import SERVICE_MESSAGES
from llm.i18n.chinese_shipped import SHIPPED_MESSAGES
from llm.i18n.chinese_tools import TOOL_MESSAGES
from llm.i18n.chinese_track import TRACK_MESSAGES
from llm.i18n.chinese_training import TRAINING_MESSAGES

TABLES = {
    "boxes": BOX_MESSAGES,
    "chat": CHAT_MESSAGES,
    "commands": COMMAND_MESSAGES,
    "data": DATA_MESSAGES,
    "downloads": DOWNLOAD_MESSAGES,
    "exports": EXPORT_MESSAGES,
    "fields": FIELD_MESSAGES,
    "files": FILE_MESSAGES,
    "forms": FORM_MESSAGES,
    "help": HELP_MESSAGES,
    "hubs": HUB_MESSAGES,
    "models": MODEL_MESSAGES,
    "prefer": PREFER_MESSAGES,
    "questions": QUESTION_MESSAGES,
    "ready": READY_MESSAGES,
    "recipes": RECIPE_MESSAGES,
    "requests": REQUEST_MESSAGES,
    "schema": SCHEMA_MESSAGES,
    "service": SERVICE_MESSAGES,
    "shipped": SHIPPED_MESSAGES,
    "tiles": TILE_MESSAGES,
    "tools": TOOL_MESSAGES,
    "track": TRACK_MESSAGES,
    "training": TRAINING_MESSAGES,
    "video": VIDEO_MESSAGES,
}
MESSAGES = {english: chinese for table in TABLES.values() for english, chinese in table.items()}
