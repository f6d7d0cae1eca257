"""Chinese texts of fields that are not read, forms that are refused, and videos, by their English patterns."""

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

VIDEO_MESSAGES = {
    # the recipe
    "vision: frames of a video a second": "视觉：视频每秒取多少帧",
    "vision: most frames of a video, then evenly spaced": "视觉：一个视频最多取多少帧，超过时均匀取帧",
    "vision: always as many frames, evenly spaced, in place of fps and max_frames; 0: by these": (
        "视觉：总是均匀取这么多帧，代替 fps 和 max_frames；0 表示按那两项"
    ),
    "either frames, or fps and max_frames: leave one of the two rules out": (
        "frames 与 fps、max_frames 只能用一种规则，请去掉另一种"
    ),
    # records
    "a video": "视频",
    "video": "视频",
    "videos": "视频",
    "an image": "图片",
    "an image without a path": "图片没有路径",
    "a video without a path": "视频没有路径",
    "Give every video a path": "请给每个视频写上路径",
    "holds a video": "含有视频",
    "holds an image or a video": "含有图片或视频",
    "Only questions may have videos: move it to a question": "只有问题可以带视频，请移到问题中",
    "Encode the complete {} file as base64, or write its path": "请把整个{}文件编码为 base64，或写它的路径",
    "{} is a URL, and {}s are not downloaded": "{} 是网址，{}不会自动下载",
    "Save the {}. {}": "请先保存{}。{}",
    "Put them first, or set data.turns: together": "请把它们放在最前面，或设置 data.turns: together",
    "data.turns is apart, but an image or a video is not at the start of the first question": (
        "data.turns 为 apart，但有图片或视频不在第一个问题的开头"
    ),
    "Known parts are {}: leave the record out": "支持的内容类型有 {}：请去掉该记录",
    "text, image, image_url, video, video_url, thinking, tool_use and tool_result": (
        "text、image、image_url、video、video_url、thinking、tool_use 和 tool_result"
    ),
    "frames chosen for a single video": "为单个视频单独指定了取帧方式",
    "Remove it, and choose the frames of all videos in the recipe: data.video": (
        "请删除它，并在配方的 data.video 中统一指定所有视频的取帧方式"
    ),
    "{} {} but {} videos given": "有 {0} 个 {1}，但给出了 {2} 个视频",
    "{} in an answer": "{} 出现在回答中",
    "Write one {} for each video, or none to put them before the question": (
        "请为每个视频写一个 {}，或一个都不写，视频会放在问题之前"
    ),
    "{} but no video given": "有 {}，但没有给出视频",
    "Name the video in `video`; if {} is ordinary text, use format: sharegpt": (
        "请在 `video` 中写明视频；如果 {} 只是普通文字，请用 format: sharegpt"
    ),
    "both name videos": "两个字段都给出了视频",
    "a list, such as the frames of a video": "是列表，例如视频的各帧",
    "Write them as images of the record, in their order": "请按顺序写成该记录的图片",
    "is {}, not the path of a video": "是{}，不是视频路径",
    "an object of {} that names no video": "对象的键是 {}，没有写明视频",
    "Name videos in `video` or `videos` of a record with a question, or remove the field": (
        "请把视频写在有问题的记录的 `video` 或 `videos` 中，或删除该字段"
    ),
    "Only text, images and videos can be trained on: remove the field, or leave the record out": (
        "只能训练文本、图片和视频：请删除该字段，或去掉该记录"
    ),
    "a video without a question": "没有问题的视频",
    "Write questions and answers about it, as messages beside `videos`": "请写出关于它的问答，作为 `videos` 旁边的消息",
    "{}: columns: map output with input, image or video, or text alone": (
        "{}：columns：output 要与 input、image 或 video 一起指定，或只指定 text"
    ),
    "this model takes no videos": "该模型不接受视频",
    "Train with a recipe that names model.tower, or remove the video": "请用写有 model.tower 的配方训练，或去掉视频",
    # chats and requests
    "Only questions may have videos": "只有问题可以带视频",
    "more than {} videos": "超过 {} 个视频",
    "{} takes no videos and the chat has one. Choose another model or start a new chat": (
        "{} 不接受视频，而对话中有视频。请选择其他模型或开始新对话"
    ),
    "this model takes no videos. Choose another model, or start a new chat without them": (
        "该模型不接受视频。请选择其他模型，或开始不带视频的新对话"
    ),
    "Send a file with pictures that move": "请发送有画面的视频文件",
    "Send an MP4, WebM, MOV, MKV or AVI file": "请发送 MP4、WebM、MOV、MKV 或 AVI 文件",
    "Convert it to MP4 with H.264 and send that": "请转换为 H.264 的 MP4 后再发送",
    "limit reached: a message with more than {} videos was refused": "达到限制：拒绝了含 {} 个以上视频的消息",
    "limit reached: a video of more than {} bytes was refused": "达到限制：拒绝了超过 {} 字节的视频",
    # files
    "Convert it to MP4 with H.264: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4": (
        "请转换为 H.264 的 MP4：ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"
    ),
    "Fetch the video again, or convert it: ffmpeg -i IN -c:v libx264 OUT.mp4": (
        "请重新获取视频，或转换它：ffmpeg -i IN -c:v libx264 OUT.mp4"
    ),
    "Name a video file: MP4, MOV, WebM, Matroska, AVI, FLV, MPEG, WMV or GIF": (
        "请指定视频文件：MP4、MOV、WebM、Matroska、AVI、FLV、MPEG、WMV 或 GIF"
    ),
    "Cut out the part that is meant: ffmpeg -ss START -to END -i IN OUT.mp4": (
        "请截取需要的片段：ffmpeg -ss START -to END -i IN OUT.mp4"
    ),
    "Videos are read by PyAV: pip install 'eyegraft[video]'": "读取视频需要 PyAV：pip install 'eyegraft[video]'",
    "<a video of {} bytes>": "<{} 字节的视频>",
    "it has no pictures, only sound": "没有画面，只有声音",
    "its codec is not known here": "无法识别它的编码",
    "it has no frames": "没有任何一帧",
    "the video is empty": "视频文件为空",
    "{} minutes, at most {} are read": "{} 分钟，最多读取 {} 分钟",
    "{} frames, at most {} are read": "{} 帧，最多读取 {} 帧",
    "{} bytes, at most {} are read": "{} 字节，最多读取 {} 字节",
    "frames of {} x {} pixels, at most {} are read": "每帧 {} x {} 像素，最多读取 {} 像素",
    "cut off: its last frame is at {} s of {} s": "不完整：最后一帧在 {} 秒，全长 {} 秒",
    "a frame without a time": "有一帧没有时间",
    "the frame at {} s is damaged": "{} 秒处的帧已损坏",
    "unknown data": "未知数据",
    "{}, not a video": "{}，不是视频",
    # commands
    "Copy the video into the folder: on another machine the link leads nowhere": (
        "请把视频复制到该文件夹：在其他机器上链接会失效"
    ),
    "Keep each {} on one side: the model must not have seen validation {}s": (
        "请让每个{0}只在一边：模型不应见过验证集的{1}"
    ),
    "an embedded {}": "内嵌的{}",
    "{} typed beside videos": "与视频同时出现的、作为文字的 {}",
    "each is shown as frames: data.video of the recipe": "每个视频以多帧显示，见配方的 data.video",
    "videos are not sent to an endpoint": "不会向接口发送视频",
    "Ask a model folder or a run, or leave the question out": "请向模型文件夹或训练结果提问，或去掉该问题",
}
