"""What a check can find: a finding and its place, and the table of all codes with titles in English and Chinese."""

from dataclasses import dataclass
from typing import Literal

from llm.errors import Place, RecordError

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of one record. `row` counts records from 1 within the source; 0 means the file."""

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
        """The finding as JSON."""
        place: dict[str, str | int] = {"file": self.place.file, "line": self.place.line, "id": self.place.id}
        texts = {"field": self.field, "found": self.found, "advice": self.advice}
        return {"code": self.code, "level": self.level, **place, "row": self.row, **texts}


@dataclass(frozen=True, slots=True)
class FindingCode:
    """A kind of finding. `error`: the record cannot be trained on; `warning`: it can, but probably not as intended."""

    title: str
    title_zh: str
    level: Level = "error"


def of_error(error: RecordError, row: int) -> Finding:
    """The finding for an error that a reader raised at record `row`."""
    return Finding(error.code, error.place, row, error.field, error.found, error.advice)


CODES: dict[str, FindingCode] = {
    # files
    "json-broken": FindingCode("broken JSON", "JSON 格式错误"),
    "json-comma": FindingCode("trailing comma in JSON", "JSON 末尾多了逗号"),
    "json-nan": FindingCode("NaN or Infinity in JSON", "JSON 中有 NaN 或 Infinity"),
    "json-cut": FindingCode("JSON that ends inside a record", "JSON 在记录中途截断"),
    "json-extra": FindingCode("text after the end of the JSON", "JSON 结束后还有多余内容"),
    "json-deep": FindingCode("JSON nested too deeply", "JSON 嵌套过深"),
    "json-bom": FindingCode("byte order mark at the start of JSON", "JSON 开头有字节顺序标记（BOM）", "warning"),
    "json-suffix": FindingCode("JSONL named .json, or the reverse", "JSONL 与 JSON 的扩展名用反", "warning"),
    "csv-broken": FindingCode("broken CSV", "CSV 格式错误"),
    "parquet-broken": FindingCode("broken parquet file", "Parquet 文件损坏"),
    "file-broken": FindingCode("a file that cannot be read to its end", "文件无法读完"),
    "file-kind": FindingCode("a file of another kind than its name says", "文件内容与扩展名不符"),
    "sheet-broken": FindingCode("a broken Excel workbook", "Excel 工作簿有误"),
    "split-unread": FindingCode("data of other splits, which is not read", "其他划分的数据未被读取", "warning"),
    "encoding": FindingCode("not UTF-8", "不是 UTF-8 编码"),
    "no-rows": FindingCode("no record in the source", "没有任何记录"),
    # records and their fields
    "row-type": FindingCode("a record that is not an object", "记录不是对象"),
    "format-unknown": FindingCode("a record of no known format", "无法识别记录的格式"),
    "format-mixed": FindingCode("a record of another format than the others", "与其他记录的格式不同"),
    "format-refused": FindingCode("a form of data that cannot be trained on", "无法用于训练的数据形式"),
    "field-missing": FindingCode("a missing field", "缺少字段"),
    "field-type": FindingCode("a field of the wrong type", "字段类型错误"),
    "field-media": FindingCode(
        "an image, video or audio in a field that is not read", "未被读取的字段中有图片、视频或音频"
    ),
    "field-unread": FindingCode("text in a field that is not read", "字段中的文本未被读取", "warning"),
    "text-form": FindingCode("text that does not follow its format", "文本不符合格式要求"),
    "record": FindingCode("a record that cannot be read", "无法读取的记录"),
    # turns
    "turns-empty": FindingCode("no turns", "没有对话轮次"),
    "turn-empty": FindingCode("an empty question or system prompt", "问题或系统提示词为空"),
    "turn-gap": FindingCode("turn numbers with gaps", "轮次编号不连续"),
    "role-unknown": FindingCode("an unknown role", "未知角色"),
    "role-order": FindingCode("roles out of order", "角色顺序错误"),
    "question-missing": FindingCode("no question", "没有问题"),
    "answer-missing": FindingCode("a question without an answer", "问题没有回答"),
    "answer-empty": FindingCode("an empty answer", "回答为空"),
    "system-twice": FindingCode("two system prompts", "有两个系统提示词"),
    "part-type": FindingCode("an unsupported kind of content", "不支持的内容类型"),
    "tool-call": FindingCode("a broken tool call", "工具调用有误"),
    "thoughts-twice": FindingCode("an answer with thoughts in two places", "回答中有两处思考内容"),
    "objects": FindingCode("boxes that do not fit their slots", "目标框与占位符不符"),
    "loss-flag": FindingCode("an invalid loss flag", "loss 标记有误"),
    "no-target": FindingCode("a record without training targets", "整条记录没有训练目标"),
    "unanswered": FindingCode(
        "a record marked as unanswered, left out of training", "标记为无回答的记录，训练时跳过", "warning"
    ),
    "bad-answer": FindingCode(
        "an answer labelled as bad, left out of training", "标记为不良回答的记录，训练时跳过", "warning"
    ),
    "pair-form": FindingCode("a record without a pair of answers", "记录中没有成对的回答"),
    "pair-same": FindingCode("a preference pair with equal answers", "偏好对的两个回答相同"),
    "pair-empty": FindingCode("a preference pair with an empty side", "偏好对有一边为空"),
    "pair-prompts": FindingCode("a preference pair with different prompts", "偏好对的两个提示不同"),
    "pair-images": FindingCode("a preference pair with images on one side only", "偏好对只有一边有图片"),
    "pair-scores": FindingCode("scored answers without two scores", "带得分的回答中得分不足两个"),
    "pair-length": FindingCode(
        "a preference pair whose answers differ much in length", "偏好对的两个回答长度相差很大", "warning"
    ),
    "label-missing": FindingCode("a labelled answer without its label", "标注好坏的回答缺少标注"),
    "surrogate": FindingCode("half a surrogate pair in a text", "文本中有不成对的代理字符"),
    "token-reserved": FindingCode("text that would become a special token", "文本会变成特殊 token"),
    "token-literal": FindingCode("a special token typed as text", "文本中写有特殊 token", "warning"),
    "placeholder": FindingCode("a template that is not filled in", "模板未填写", "warning"),
    "template": FindingCode("a record that the chat template cannot render", "对话模板无法渲染该记录"),
    "too-long": FindingCode("a record longer than data.max_length", "超过长度上限"),
    # images of a record
    "image-count": FindingCode("numbers of <image> placeholders and images differ", "<image> 占位符与图片数量不符"),
    "image-in-answer": FindingCode("<image> in an answer", "回答中有 <image>"),
    "image-place": FindingCode("an image where none is allowed", "图片出现在不允许的位置"),
    "image-in-text-run": FindingCode("an image in a text run or text format", "纯文本训练或格式中有图片"),
    "image-twice": FindingCode("images named in two fields", "两个字段都给出图片"),
    "image-ref": FindingCode("an image that is not a path", "图片不是路径"),
    "image-url": FindingCode("an image given as a URL", "图片是网址"),
    "image-fetch": FindingCode("an image that could not be downloaded", "图片下载失败"),
    "image-fetched": FindingCode(
        "a downloaded image; its record still names the URL", "图片已下载，记录中仍是网址", "warning"
    ),
    "image-path": FindingCode("an image path written otherwise than its file", "图片路径与文件名写法不同", "warning"),
    "repaired": FindingCode("a record that --fix repaired", "已由 --fix 修复的记录", "warning"),
    "image-outside": FindingCode("an image path that leaves the image folder", "图片路径超出图片文件夹"),
    "image-link": FindingCode("a link that leaves the image folder", "符号链接指向图片文件夹之外", "warning"),
    "box-pixels": FindingCode("box coordinates in pixels", "框坐标以像素为单位", "warning"),
    "box-convention": FindingCode("a box in another style than the model's", "框的写法与模型不同", "warning"),
    "box-outside": FindingCode("a box that leaves the image, or has no area", "框超出图片或没有面积", "warning"),
    # image files
    "image-missing": FindingCode("a missing image file", "图片文件不存在"),
    "image-empty": FindingCode("an empty image file", "图片文件为空"),
    "image-html": FindingCode("a web page in place of an image", "图片文件其实是网页"),
    "image-kind": FindingCode("a file of no known image format", "不是已知的图片格式"),
    "image-broken": FindingCode("a broken or truncated image", "图片损坏或不完整"),
    "image-huge": FindingCode("an image that is too large", "图片过大"),
    "image-thin": FindingCode("an image so narrow that nothing is left of it", "图片过于细长，缩小后什么都看不到"),
    "image-pixels": FindingCode("pixels that cannot be read", "无法读取的像素格式"),
    "image-mode": FindingCode("an unusual colour mode", "不常见的颜色模式", "warning"),
    "image-animated": FindingCode("an animation, of which the first frame is used", "动图，只读取第一帧", "warning"),
    "image-pages": FindingCode("several pages, of which the first is used", "多页图片，只读取第一页", "warning"),
    "image-exif": FindingCode("an image rotated by its EXIF orientation", "图片按 EXIF 方向旋转", "warning"),
    # videos
    "video-count": FindingCode("numbers of <video> placeholders and videos differ", "<video> 占位符与视频数量不符"),
    "video-place": FindingCode("a video where none is allowed", "视频出现在不允许的位置"),
    "video-in-run": FindingCode("a video in a run of a model that takes none", "该模型的训练不接受视频"),
    "video-twice": FindingCode("videos named in two fields", "两个字段都给出视频"),
    "video-ref": FindingCode("a video that is not a path", "视频不是路径"),
    "video-frames": FindingCode("frames chosen for a single video", "单个视频自带取帧设置"),
    "video-url": FindingCode("a video given as a URL", "视频是网址"),
    "video-outside": FindingCode("a video path that leaves the image folder", "视频路径超出图片文件夹"),
    "video-link": FindingCode("a video that is a link out of the image folder", "视频链接指向文件夹之外", "warning"),
    "video-missing": FindingCode("a missing video file", "视频文件不存在"),
    "video-kind": FindingCode("a file that is no video", "不是视频文件"),
    "video-empty": FindingCode("a video without frames", "视频没有画面"),
    "video-codec": FindingCode("a video of an unknown codec", "视频编码无法识别"),
    "video-broken": FindingCode("a broken or truncated video", "视频损坏或不完整"),
    "video-long": FindingCode("a video that is too long or too large", "视频过长或过大"),
    # repetitions
    "id-duplicate": FindingCode("an id used twice", "id 重复", "warning"),
    "row-duplicate": FindingCode("a record that occurs twice", "重复的记录", "warning"),
    "row-leak": FindingCode("the same record in training and validation", "同一记录同时在训练集和验证集", "warning"),
    "image-leak": FindingCode("the same image in training and validation", "同一图片同时在训练集和验证集", "warning"),
    "video-leak": FindingCode("the same video in training and validation", "同一视频同时在训练集和验证集", "warning"),
}
"""Every code, in the order of reports."""
