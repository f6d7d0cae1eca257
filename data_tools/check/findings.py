"""What a check may find: one finding and its place, and the table of all codes in English and Chinese."""

from dataclasses import dataclass
from typing import Literal

from llm.errors import Place, RecordError

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one row: `row` counts from 1 within the source, 0 is the file as a whole."""

    code: str
    place: Place
    row: int
    field: str
    found: str
    advice: str

    @property
    def level(self) -> Level:
        """`error` when the record cannot be trained on."""
        return CODES[self.code].level

    def as_json(self) -> dict[str, str | int]:
        """The finding for programs."""
        place: dict[str, str | int] = {"file": self.place.file, "line": self.place.line, "id": self.place.id}
        told = {"field": self.field, "found": self.found, "advice": self.advice}
        return {"code": self.code, "level": self.level, **place, "row": self.row, **told}


@dataclass(frozen=True, slots=True)
class FindingCode:
    """A kind of finding, for people. `error`: the record cannot be trained on; `warning`: it can, not as meant."""

    title: str
    title_zh: str
    level: Level = "error"


def of_error(error: RecordError, row: int) -> Finding:
    """The finding that a reader's error is."""
    return Finding(error.code, error.place, row, error.field, error.found, error.advice)


CODES: dict[str, FindingCode] = {
    # files
    "json-broken": FindingCode("broken JSON", "JSON 格式错误"),
    "json-comma": FindingCode("trailing comma in JSON", "JSON 末尾多了逗号"),
    "json-nan": FindingCode("NaN or Infinity in JSON", "JSON 中有 NaN 或 Infinity"),
    "json-cut": FindingCode("JSON that ends inside a record", "JSON 在记录中途截断"),
    "json-extra": FindingCode("text behind the JSON", "JSON 之后还有多余内容"),
    "json-deep": FindingCode("JSON nested too deeply", "JSON 嵌套过深"),
    "json-bom": FindingCode("byte order mark at the start of JSON", "JSON 开头有字节顺序标记 (BOM)", "warning"),
    "json-suffix": FindingCode("JSONL named .json, or the reverse", "JSONL 与 JSON 的扩展名用反", "warning"),
    "csv-broken": FindingCode("broken CSV", "CSV 格式错误"),
    "parquet-broken": FindingCode("broken parquet file", "Parquet 文件损坏"),
    "encoding": FindingCode("not UTF-8", "不是 UTF-8 编码"),
    "no-rows": FindingCode("no record in the source", "没有任何记录"),
    # rows and their fields
    "row-type": FindingCode("a row that is not an object", "记录不是对象"),
    "format-unknown": FindingCode("a row of no known format", "无法识别的格式"),
    "format-mixed": FindingCode("a row of another format than the others", "与其他记录的格式不同"),
    "field-missing": FindingCode("a field is missing", "缺少字段"),
    "field-type": FindingCode("a field of the wrong type", "字段类型错误"),
    "text-form": FindingCode("text not in the form of its format", "文本不符合格式要求"),
    "record": FindingCode("a record that cannot be read", "无法读取的记录"),
    # turns
    "turns-empty": FindingCode("no turns", "没有对话轮次"),
    "turn-empty": FindingCode("an empty question or system prompt", "问题或系统提示为空"),
    "turn-gap": FindingCode("turns not numbered without gaps", "轮次编号不连续"),
    "role-unknown": FindingCode("an unknown role", "未知角色"),
    "role-order": FindingCode("roles out of order", "角色顺序错误"),
    "question-missing": FindingCode("no question", "没有问题"),
    "answer-missing": FindingCode("a question without an answer", "问题没有回答"),
    "answer-empty": FindingCode("an empty answer", "回答为空"),
    "system-twice": FindingCode("two system prompts", "有两个系统提示"),
    "part-type": FindingCode("a kind of content that is not read", "不支持的内容类型"),
    "tool-call": FindingCode("a broken tool call", "工具调用有误"),
    "loss-flag": FindingCode("a loss flag where none belongs", "loss 标记有误"),
    "no-target": FindingCode("nothing in the row is trained on", "整条记录没有训练目标"),
    "unanswered": FindingCode(
        "a row marked as unanswered, left out of training", "标记为无回答的记录，训练时跳过", "warning"
    ),
    "pair-same": FindingCode("a preference pair of equal answers", "偏好对的两个回答相同"),
    "surrogate": FindingCode("half of a surrogate pair in a text", "文本中有半个代理对字符"),
    "token-reserved": FindingCode("text that becomes a special token", "文本会变成特殊词元"),
    "token-literal": FindingCode("a special token written as text", "文本中写有特殊词元", "warning"),
    "template": FindingCode("the chat template cannot render the row", "对话模板无法渲染该记录"),
    "too-long": FindingCode("longer than the budget", "超过长度上限"),
    # images of a row
    "image-count": FindingCode("<image> marks and images differ in number", "<image> 标记与图片数量不符"),
    "image-in-answer": FindingCode("<image> in an answer", "回答中有 <image>"),
    "image-place": FindingCode("an image where none may stand", "图片位置不允许"),
    "image-in-text-run": FindingCode("an image in a text run or text format", "纯文本训练或格式中有图片"),
    "image-twice": FindingCode("images named in two fields", "两个字段都给出图片"),
    "image-ref": FindingCode("an image that is not a path", "图片不是路径"),
    "image-url": FindingCode("an image given as a URL", "图片是网址"),
    "image-fetch": FindingCode("an image that could not be downloaded", "图片下载失败"),
    "image-fetched": FindingCode(
        "a downloaded image; its row still names the URL", "图片已下载，记录仍写网址", "warning"
    ),
    "image-outside": FindingCode("an image path that leaves the image folder", "图片路径超出图片文件夹"),
    "image-link": FindingCode("a link that leaves the image folder", "符号链接指向图片文件夹之外", "warning"),
    "box-pixels": FindingCode("box coordinates in pixels", "框坐标以像素为单位", "warning"),
    # image files
    "image-missing": FindingCode("a missing image file", "图片文件不存在"),
    "image-empty": FindingCode("an empty image file", "图片文件为空"),
    "image-html": FindingCode("a web page named as an image", "图片其实是网页"),
    "image-kind": FindingCode("a file that is no known kind of image", "不是已知的图片类型"),
    "image-broken": FindingCode("a broken or truncated image", "图片损坏或不完整"),
    "image-huge": FindingCode("an oversized image", "图片过大"),
    "image-pixels": FindingCode("pixels of an unreadable kind", "像素格式无法读取"),
    "image-mode": FindingCode("an unusual colour mode", "不常见的颜色模式", "warning"),
    "image-animated": FindingCode("an animation, of which the first frame is read", "动图，只读取第一帧", "warning"),
    "image-exif": FindingCode("an image turned by its EXIF orientation", "图片按 EXIF 方向旋转", "warning"),
    # across rows
    "id-duplicate": FindingCode("an id used twice", "id 重复", "warning"),
    "row-duplicate": FindingCode("a row that stands there twice", "重复的记录", "warning"),
    "row-leak": FindingCode("the same row in training and validation", "同一记录同时在训练集和验证集", "warning"),
    "image-leak": FindingCode("the same image in training and validation", "同一图片同时在训练集和验证集", "warning"),
}
"""Every code, in the order in which they are told."""
