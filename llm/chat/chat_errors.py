"""Errors as texts for a person who chats: what was found, where, and what to do, without words of training data.

The errors of readers and encoders advise people who prepare data; `chat_text` keeps what they found and replaces their
advice. The terminal, the page and the API show the same texts.
"""

import re

from llm.errors import EyegraftError, ImageError, ModelError, RecordError, TemplateError

# What to do about an image, by the error's code. OTHER_IMAGE holds for every other code.
IMAGE_ADVICE = {
    "image-missing": "Check the name of the file",
    "image-empty": "Choose the file again: it has 0 bytes",
    "image-broken": "Open it in another program, save a new copy and send that",
    "image-html": "Open the address in a browser, save the image itself and send that",
    "image-kind": "Send one of JPEG, PNG, WEBP, GIF, BMP, TIFF, AVIF",
    "image-thin": "Cut out the part that is meant and send that",
    "image-huge": "Send a smaller copy",
    "image-not-uploaded": "Upload it again",
    "image-pixels": "Save it as an ordinary PNG or JPEG with 8 bits a channel and send that",
    "video-missing": "Check the name of the file",
    "video-empty": "Send a file with pictures that move",
    "video-kind": "Send an MP4, WebM, MOV, MKV or AVI file",
    "video-codec": "Convert it to MP4 with H.264 and send that",
    "video-broken": "Open it in another program, save a new copy and send that",
    "video-long": "Cut out the part that is meant and send that",
}
OTHER_IMAGE = "Send another copy of it"
# What is wrong with a conversation and what to do, by the error's code.
RECORD_TEXTS = {
    "image-in-text-run": "this model reads text only. Choose another model, or start a new chat without images",
    "video-in-run": "this model takes no videos. Choose another model, or start a new chat without them",
    "token-reserved": "the text spells a mark that this model reserves for itself. Rephrase that passage",
    "surrogate": "half of a surrogate pair, which is not a character. Write the complete character",
}
UNREADABLE = "this model cannot read the conversation"
REPHRASE = "Rephrase the last question, or start a new chat"
UNOPENED = "this model cannot be opened"
OTHER_MODEL = "Choose another model"
TURNS = "this model's chat format cannot hold these turns"
OTHER_TURNS = "Start with a question, or leave the system prompt out"
_OF_DATA = re.compile(r"\b(records?|rows?|sources?|recipes?|runs?|drop|train\w*|data set|images: folder|data\.\w+)\b")
_SENTENCE = re.compile(r"(?<=[.;])\s+")


def chat_text(error: EyegraftError) -> str:
    """What was found and what to do, in the words of a chat: no sentence about records, sources or recipes."""
    if isinstance(error, ImageError):
        return f"{image_place(error)}: {error.found}. {image_advice(error)}"
    if isinstance(error, RecordError):
        return RECORD_TEXTS.get(error.code) or _joined([error.found], UNREADABLE, REPHRASE)
    sentences = _SENTENCE.split(str(error))
    if isinstance(error, TemplateError):
        return _joined(sentences, TURNS, OTHER_TURNS)
    if not any(map(_OF_DATA.search, sentences)):
        return str(error)
    if isinstance(error, ModelError):
        return _joined(sentences, UNOPENED, OTHER_MODEL)
    return _joined(sentences, UNREADABLE, REPHRASE)


def image_advice(error: ImageError) -> str:
    """What to do about an image that is not accepted."""
    return IMAGE_ADVICE.get(error.code, OTHER_IMAGE)


def image_place(error: ImageError) -> str:
    """The name of the image in an error's message, or "the image"."""
    name, found, _ = str(error).partition(f": {error.found}")
    return name if found and name else "the image"


def _joined(found: list[str], otherwise: str, advice: str) -> str:
    """The sentences that do not speak of data, or `otherwise` where all do, and the advice."""
    kept = " ".join(one for one in found if not _OF_DATA.search(one)) or otherwise
    return f"{kept.rstrip('.;')}. {advice}"
