"""Chinese texts about fields that are not read, forms that are refused, and the parts of turns, by English patterns."""

FIELD_MESSAGES = {
    "holds {}, which format {} does not read": "含有{}，而 {} 格式不会读取该字段",
    "holds {}, and is not read": "含有{}，且不会被读取",
    "is not read": "不会被读取",
    "a video": "视频",
    "audio": "音频",
    "a file": "文件",
    "Name images in `image` or `images` of the record, or remove the field": (
        "请把图片写在记录的 `image` 或 `images` 字段中，或删除该字段"
    ),
    "Only text and images can be trained on: remove the field, or leave the record out": (
        "只能训练文本和图片：请删除该字段，或去掉该记录"
    ),
    "It is not trained on: move it to a field that the format reads, or remove it": (
        "它不会参与训练：请移到该格式会读取的字段，或将其删除"
    ),
    "Training leaves the record out: remove the label to train on it": "训练会跳过该记录；要用于训练请删除该标记",
    "with {}: false, whose answer is a bad example": "{} 为 false，其回答是反例",
    'Write every record as {"name": value, ...}, or as a list of messages': (
        '每条记录都应写成 {{"name": value, ...}}，或写成消息列表'
    ),
    "Name a file of records rather than a folder of label files": "请指定记录文件，而不是标注文件夹",
    "boxes of YOLO, which cannot be trained on": "YOLO 标注框，无法用于训练",
    "Write a path, a data URL or base64 under one of {}": "请在以下字段之一写路径、data URL 或 base64：{}",
    "an object of {} that names no image": "含有 {} 的对象没有写明图片",
    "Write the bytes of the image file as numbers from 0 to 255, or its path": (
        "请把图片文件的字节写成 0 到 255 的数字，或写它的路径"
    ),
    "a list of other things than bytes": "列表中不全是字节值",
    "{} without data": "{} 没有内容",
    "{} that is not base64 ({})": "{} 不是有效的 base64（{}）",
    "Known parts are text, image, image_url, thinking, tool_use and tool_result: leave the record out": (
        "支持的类型有 text、image、image_url、thinking、tool_use 和 tool_result：请去掉该记录"
    ),
    "is not an object": "不是对象",
    "is not a list": "不是列表",
    "Results of tools are text": "工具结果只能是文本",
    'Divide by width and height, and write "bbox_type": "norm1"': '请除以图片的宽和高，并写上 "bbox_type": "norm1"',
    "{} entries for {} {} in the texts": "有 {} 项，而文本中有 {} 个 {}",
    "Write a list with one entry for each slot": "请写成列表，每个占位符对应一项",
    "Give one entry for each": "每个占位符应有一项",
    "{} is not 2 or 4 numbers": "{} 不是 2 个或 4 个数字",
    "Write [x1, y1, x2, y2]": "请写成 [x1, y1, x2, y2]",
    "{} is in pixels, and images are resized": "{} 以像素为单位，而图片会缩放",
    "Keep the thoughts in one of the two": "思考内容请只保留一处",
    "thoughts, while the answer has <think> of its own": "已有思考内容，而回答中又写有 <think>",
    "Write 0 to leave the answer out of the loss, and 1 or nothing to train on it": (
        "写 0 表示该回答不计算 loss；要训练请写 1 或不写"
    ),
    "a call or thought of the {}": "{} 的轮次中有工具调用或思考内容",
    "Only answers have them": "只有回答可以有这些内容",
    "a tool result in an answer": "回答中有工具结果",
    "Write it in the next turn": "请写在下一轮",
    "is not a question and an answer": "不是一问一答",
    'Write [["question", "answer"], ...], or messages with role and content': (
        '请写成 [["问题", "回答"], ...]，或带 role 和 content 的消息'
    ),
}
"""Fields and turns."""

FORM_MESSAGES = {
    "the record is {}, which cannot be trained on": "该记录是{}，无法用于训练",
    "the annotations of COCO in one object": "COCO 的整份标注",
    "an annotation of COCO: a box with a category": "COCO 的一个类别框",
    "a caption of COCO without its image": "没有图片信息的 COCO 描述",
    "a task of Label Studio": "Label Studio 的任务",
    "boxes of LabelMe": "LabelMe 的标注框",
    "regions of VIA, the VGG image annotator": "VIA（VGG Image Annotator）的标注区域",
    "steps with labels, TRL's stepwise supervision": "TRL 的逐步监督数据",
    "an article of SQuAD": "SQuAD 的一篇文章",
    "pairs of an embedding model": "嵌入模型的样本对",
    "boxes without a question and an answer": "没有问答的标注框",
    "an image with a class": "带类别的图片",
    "a single turn": "单独一轮对话",
    "Write questions and answers about the image, with boxes as text in fractions of width and height": (
        "请改写成关于图片的问答，框用文字写成相对宽高的比例"
    ),
    "Captions: `eyegraft data convert --format coco`. {}": "图片描述请用 `eyegraft data convert --format coco`。{}",
    "Use `eyegraft data convert --format coco`": "请使用 `eyegraft data convert --format coco`",
    "Export it as CSV or JSON-MIN and name the columns with `columns`": (
        "请导出为 CSV 或 JSON-MIN，并用 `columns` 指定列"
    ),
    "Only text and images can be trained on: transcribe it": "只能训练文本和图片：请先转写成文字",
    "Only text and images can be trained on: give frames as `images`": "只能训练文本和图片：请把帧写在 `images` 中",
    "Write one completion a record": "请每条记录写一个 completion",
    "Write one record a question, with context, question and answers": "请每个问题写一条记录，含 context、question 与 answers",
    "a part of {}": "由 {} 组成的 part",
    "Parts are text, or an image as inlineData": "part 只能是文本，或以 inlineData 给出的图片",
    "{} is no image": "{} 不是图片",
    "Known are user and model": "只能是 user 或 model",
    "is no list of texts": "不是文本列表",
    "Write a list of texts": "请写成文本列表",
    "Write questions and answers": "请改写成问答",
    "Name the columns: `columns: {image: image, output: label}`": (
        "请指定列：`columns: {{image: image, output: label}}`"
    ),
    "Write all turns of a conversation in one record, under `messages`": (
        "请把一次对话的所有轮次写在一条记录的 `messages` 中"
    ),
    "Write all turns of a conversation in one record, under `conversations`": (
        "请把一次对话的所有轮次写在一条记录的 `conversations` 中"
    ),
    "Write the answer too, for example as messages that end with one of the assistant": (
        "请把回答也写上，例如以 assistant 消息结尾的 messages"
    ),
}
"""Forms of data that are refused by name."""
