"""What the name of a field says about it: media, text to train on, a wish about training, or metadata."""

import re
from functools import lru_cache


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


WISHES = _set(
    "loss loss_weight loss_scale loss_mask weight sample_weight train training trainable masked output_with_loss"
)
"""Fields by which records or turns are weighted, or left out of the loss."""

_MEDIA = {
    "an image": "image images img imgs picture pictures photo photos pic pics screenshot screenshots pixel pixels "
    "jpg jpeg png 图片 图像 照片",
    "a video": "video videos mp4 视频",
    "audio": "audio audios wav mp3 waveform 音频 语音",
}
_MEDIA_OF_WORD = {word: media for media, words in _MEDIA.items() for word in words.split()}
# With one of these beside it the word names a property of the media: `image_id`, `video_title`, `num_images`.
_PROPERTIES = _set("""
    id ids idx index caption captions description alt title text prompt name names source license type format
    hash md5 sha phash category style tag tags label labels size sizes width height wh shape resolution num
    number count n total has is mode ratio aspect area length duration start end fps score quality rate sample
    sampling grid thw token tokens question task level split author date time lang language stats metadata meta
    info per max min mean std placeholder key column field dir folder root processor processing model summary
    transcript
""")
_PLAIN_MEDIA = _set("image images img imgs picture pictures photo photos video videos audio audios")
_TEXT = _set("""
    system systems history histories context contexts tools tool functions function reasoning thinking thought
    thoughts think rationale rationales explanation explanations cot chain hint hints choices options knowledge
    passage passages document documents evidence caption captions instruction instructions input inputs output
    outputs prompt prompts question questions answer answers response responses reply chosen rejected preferred
    query queries conversation conversations message messages content contents text texts value description
    descriptions suffix prefix completion completions solution summary body story dialog dialogue chat turns
    background persona scenario premise hypothesis translation refusal ocr transcript
""")
_METADATA = _set("""
    id ids idx index uid uuid guid qid pid key keys source sources src dataset datasets origin provenance
    category categories topic topics tag tags domain domains subject subjects type types subtype kind kinds
    class difficulty level grade lang langs language languages locale country license licence author authors
    model models engine generator annotator annotators username name names created updated date dates timestamp
    timestamps time times year version versions revision split subset config url urls uri link links file
    filename path paths repo hash md5 sha score scores rating ratings rank quality reward rewards confidence
    status token tokens length len num count size width height label labels flag flags finish fingerprint etag
    checksum encoding charset format mime role seed temperature
""")
_CONTAINERS = _set("meta metadata extra info stats usage details attributes annotations config")
_PROVENANCE = _set("url urls uri link links source sources src original orig origin provenance")
_FILE_NAMES = _set("name names path paths file filename id")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+")


@lru_cache(4096)
def _words(name: str) -> tuple[str, ...]:
    """The words of a name in lower case, without numbers: `imagePath_2` is image, path."""
    return tuple(word.lower() for word in _WORDS.findall(name))


@lru_cache(4096)
def media_named(name: str, plain: bool = False) -> str:
    """The media that a field of this name holds; empty for none. `plain`: only `image`, `videos` and the like."""
    words = _words(name)
    media = next((_MEDIA_OF_WORD[word] for word in words if word in _MEDIA_OF_WORD), "")
    if plain and not _PLAIN_MEDIA.issuperset(words):
        return ""
    return media if _PROPERTIES.isdisjoint(words) else ""


@lru_cache(4096)
def is_text_name(name: str) -> bool:
    """Whether the name says that a field is text for the model: `system`, `reasoning_content`."""
    words = _words(name)
    return bool(words) and words[-1] not in _METADATA and not _TEXT.isdisjoint(words)


@lru_cache(4096)
def is_metadata(name: str) -> bool:
    """Whether the name says that a field is about the record: `source`, `question_type`, `image_id`."""
    words = _words(name)
    return bool(words) and words[-1] in _METADATA


@lru_cache(4096)
def is_container(name: str) -> bool:
    """Whether the name says that an object is all about the record: `meta`, `extra_info`."""
    words = _words(name)
    return bool(words) and words[-1] in _CONTAINERS


@lru_cache(4096)
def is_provenance(name: str) -> bool:
    """Whether the name says where something came from: `coco_url`, `original_image`."""
    return not _PROVENANCE.isdisjoint(_words(name))


@lru_cache(4096)
def is_file_name(name: str) -> bool:
    """Whether the name may hold the file name of an image that is given as bytes: `image_path`, `file_name`."""
    return not _FILE_NAMES.isdisjoint(_words(name))
