"""Chinese texts on written files, on images, their tiles and boxes, by their English patterns."""

FILE_MESSAGES = {
    "Take its files one by one, or name the folder with --images": "请逐个处理其中的文件，或用 --images 指定文件夹",
    "Put the images of all sources in one folder and name it with --images": (
        "请把所有数据源的图片放进一个文件夹，并用 --images 指定"
    ),
    "could not be made relative to {}": "无法改写成相对 {} 的路径",
    "{}: {} can only be written from {}, found {}": "{}：{} 只能由 {} 写出，实际是 {}",
    "Name the output .parquet where all of the data is parquet, or convert it first: eyegraft data convert": (
        "数据全部是 parquet 时输出才能用 .parquet；否则请先转换：eyegraft data convert"
    ),
    "holds {}, which JSON cannot hold": "含有 {}，JSON 无法表示",
    "holds NaN or an infinite number": "含有 NaN 或无穷大",
    "JSON has none: remove it": "JSON 没有这种数值，请删除",
    "columns {}, the first file has {}": "列为 {}，而第一个文件的列为 {}",
    "Name the output .jsonl, which may hold both": "输出请用 .jsonl，可以同时容纳两者",
    "The download gave an error page: fetch the image again": "下载到的是出错页面，请重新获取图片",
    "Save it as one of {}": "请另存为以下格式之一：{}",
    "a camera's raw file, of which only the preview could be read": "是相机 RAW 文件，只能读取其中的预览图",
    "{} x {} pixels, one side more than {} times the other": "{} × {} 像素，一边超过另一边的 {} 倍",
    "Cut out the part that is meant: scaled to the few hundred pixels a model sees, nothing is left of it": (
        "请裁剪出需要的部分：模型只看几百像素，整张缩小后什么都看不清"
    ),
    "Save a smaller copy: the model sees a few hundred pixels a side": "请缩小后再用：模型每边只看几百像素",
    "no local file has this name, and it could not be fetched from {}: {}": "本地没有同名文件，也无法从 {} 获取：{}",
    "{} is not read": "{} 不会被读取",
}

QUESTION_MESSAGES = {
    "multiple choice": "选择题",
    "your own questions": "自己的问题",
    "Write question, A, B, C, D and the letter, and quote cells with commas": (
        "请写成问题、A、B、C、D 和答案字母六列，含逗号的单元格要加引号"
    ),
    "{} cells, not 6": "{} 个单元格，应为 6 个",
    "refers to the image of row {}, which is not in the file": "引用第 {} 行的图片，但文件中没有该行",
    "{} is none of the options {}": "{} 不在选项 {} 之中",
    "Complete the file, or write the image in base64": "请补全文件，或用 base64 写出图片",
    "options {}, with a gap between them": "选项为 {}，中间有空缺",
    "Write at least two, and at most 26": "请写 2 到 26 个",
    "{} options": "{} 个选项",
    "Write the letter of an option": "请写某个选项的字母",
    "Fill the columns from A on": "请从 A 列起依次填写",
    "its first {} rows have {}": "前 {} 行有{}",
    "its only row has {}": "唯一一行有{}",
    "questionId, question and image": "questionId、question 和图片",
    "question, answer and imageId": "question、answer 和 imageId",
    "query, label and an image or imgname": "query、label，以及图片或 imgname",
    "image, question and answers with a confidence": "图片、问题和带置信度的回答",
    "question, answers and an image_id that is a name": "问题、回答，以及作为文件名的 image_id",
    "question, image and a list of answers": "问题、图片和回答列表",
    "question and options A and B, or a list of them": "问题，以及 A、B 等选项列或选项列表",
    "question and options, without images and index": "问题和选项，没有图片和 index",
    "image, bbox and the expression for it": "图片、bbox 和对应的描述",
    "image and its captions or references": "图片及其描述或参考文本",
    "image, text and a label that is yes or no": "图片、文本，以及取值为 yes 或 no 的 label",
    "question, category, image and an answer that is yes or no": "问题、类别、图片，以及 yes 或 no 的答案",
    "records of a conversation format": "对话格式的记录",
    "questions of VQAv2": "VQAv2 的问题",
    "captions of TextCaps": "TextCaps 的描述",
    "images and captions of COCO": "COCO 的图片和描述",
    "is left out: {}": "被跳过：{}",
    "Add its answer or remove it": "请补上回答，或删除该记录",
    "is a text without a question": "是没有问题的文本",
    "Add the question or remove it": "请补上问题，或删除该记录",
    "{} rows of which only some have the fields of {}": "{} 行中只有一部分具有 {} 的字段",
    "{}; {} of {} rows cannot be read": "{}；{} 行无法读取，共 {} 行",
    "form {} is unknown. Known are auto, {}": "未知的题型 {}。可用的有 auto、{}",
    "{}: no questions. Name the questions' file too": "{}：没有问题。请同时给出问题文件",
    "Correct the rows, or name the form of the file": "请改正这些行，或指定文件的题型",
    "{}: answers are hidden, as no file of annotations is named or beside it": (
        "{}：没有给出答案标注文件，旁边也没有，因此答案未知"
    ),
    "{}: asked without examples, as it has no dev file beside it": "{}：旁边没有 dev 文件，因此不带示例提问",
    "Give every question an id of its own": "请为每个问题写不同的 id",
    "{} is given twice": "{} 出现了两次",
    "{}; no question is of split {}. There are: {}": "{}；没有属于划分 {} 的问题。现有：{}",
    "{}: rows of no known benchmark or format. Name the form if it is one of {}": (
        "{}：这些行不属于任何已知的评测题型或数据格式。如果属于 {} 之一，请指定题型"
    ),
    "a folder that has neither MME's categories nor dev and test files of MMLU": (
        "该文件夹既没有 MME 的类别，也没有 MMLU 的 dev 和 test 文件"
    ),
    "Name the file of questions in it": "请指定其中的问题文件",
    "{}: has no rows. Download or write it again": "{}：没有任何行。请重新下载或写出该文件",
    "Correct it, or name the convention of the file's boxes": "请改正，或指定文件中边界框的写法",
    "{}: bbox: the boxes {}. Name their convention: corners, or left, top, width and height": (
        "{}：bbox：这些边界框{}。请指定写法：两角坐标，或左、上、宽、高"
    ),
    "fit both corners and width and height": "既可以是两角坐标，也可以是宽和高",
    "fit neither corners nor width and height": "既不是两角坐标，也不是宽和高",
    "is not a list of four numbers": "不是四个数字的列表",
    "Write the four numbers of the box": "请写出边界框的四个数字",
    "{} has no area": "{} 没有面积",
    "Complete the row or remove it": "请补全或删除该行",
    "are empty": "为空",
    "Write at least one caption": "请至少写一条描述",
    "Add its captions or remove the image": "请补上描述，或删除该图片",
    "{} is no image of the file": "文件中没有图片 {}",
    "Complete the list of images": "请补全图片列表",
    "Write the accepted answers": "请写出可接受的答案",
    "is not a text or a list of texts": "不是文本或文本列表",
    "; {} of its questions are not in the file": "；其中 {} 个问题不在文件中",
    "{}: asks the {} questions of split {}": "{0}：提问划分 {2} 的 {1} 个问题",
    "{}: has no list {}. Name a split that is there": "{}：没有列表 {}。请指定已有的划分",
    "{}: cannot be read as JSON: {}. Download it again": "{}：无法按 JSON 读取：{}。请重新下载",
    "{} is neither yes nor no": "{} 既不是 yes 也不是 no",
    "Write yes or no": "请写 yes 或 no",
    "Write the question, a tab, and Yes or No": "请依次写问题、制表符和 Yes 或 No",
    "Put the image of the same name into the folder of the category": "请把同名图片放进该类别的文件夹",
    "has no tab before an answer": "答案前没有制表符",
    "Name a file of answers that an evaluation wrote, or evaluate again": "请指定评测写出的回答文件，或重新评测",
    "is not an answer": "不是一条回答",
    "is missing or of another type": "缺失或类型不对",
    "there is none named {}": "没有名为 {} 的图片",
}
"""Files of benchmark questions."""

TILE_MESSAGES = {
    "has no effect without image_mode: anyres; leave it out, or set that": (
        "没有 image_mode: anyres 时不起作用；请去掉它，或设置 image_mode: anyres"
    ),
    "{}: {} is a {}; tiles need a ViT without registers. {}": "{}：{} 是{}；分块需要不带寄存器 token 的 ViT。{}",
    "timm network": " timm 网络",
    "tower with registers": "带寄存器 token 的视觉塔",
    "Use pad, or another tower": "请用 pad，或换一个视觉塔",
    "{}: found model.pool {}; tiles are not pooled. Set model.pool: 1": (
        "{}：model.pool 为 {}；分块不做池化。请设 model.pool: 1"
    ),
    "{}: tiles of {} pixels, but {} is one of {} pixels in patches of {}, by which transformers' LlavaNext tiles. Set "
    "model.image_size: {}, or take another tower": (
        "{}：分块为 {} 像素，但 {} 是 {} 像素、图块 {} 像素的视觉塔，transformers 的 LlavaNext 据此分块。"
        "请设 model.image_size: {}，或换一个视觉塔"
    ),
    "model.image_resolutions: found [{}, {}], which tiles of {} pixels do not fill. Use multiples of {}, such as "
    "[{}, {}]": ("model.image_resolutions: [{}, {}] 不能由 {} 像素的分块填满。请用 {} 的倍数，例如 [{}, {}]"),
    "an image is up to {} tokens, of {} views of {}": "一张图片最多 {} 个 token，来自 {} 个视图，每个 {} 个",
    "features: cached in {}, {} KiB for each view of an image; {} images are there": (
        "图片特征：缓存在 {}，每个视图 {} KiB；已有 {} 张图片的"
    ),
    "is {} pixels, and was {} when the records were encoded": "现为 {} 像素，编码记录时为 {}",
    "Bring the file back, or delete the run's cache folder so that they are encoded again": (
        "请恢复该文件，或删除训练的缓存文件夹以重新编码"
    ),
    "train.pack_images: {} is less than the {} views of an image; raise it": (
        "train.pack_images: {} 小于一张图片的 {} 个视图；请增大"
    ),
    "{}, {} of them from images of {} views in all": "{}，其中 {} 个来自共 {} 个视图的图片",
    "--to llava: the newline row of model.image_mode: anyres has no place in the file. Use hf": (
        "--to llava：文件中没有 model.image_mode: anyres 的换行向量的位置。请用 hf"
    ),
    "--to gguf: tiles (model.image_mode: anyres) are not written for llama.cpp. Use --to hf": (
        "--to gguf：不为 llama.cpp 写出分块（model.image_mode: anyres）。请用 --to hf"
    ),
}

BOX_MESSAGES = {
    "vision: how the answers write boxes. llava: shares of the sides, [0.1, 0.2, 0.5, 0.6]; xtuner: <10><20><50><60> in braces; "
    "thousand: Qwen3-VL, InternVL; paligemma: <loc0102>...; qwen2.5: pixels of the resized image; pixels: of the image "
    "itself; auto: llava, or what model.vlm was published with. `data check` reports other boxes, and Chat draws answers "
    "by it": (
        "视觉：回答中框的写法。llava：边长的比例，[0.1, 0.2, 0.5, 0.6]；xtuner：花括号中的 <10><20><50><60>；"
        "thousand：Qwen3-VL、InternVL；paligemma：<loc0102>...；qwen2.5：缩放后图片的像素；pixels：原图片的像素；"
        "auto：llava，或 model.vlm 发布时的写法。`data check` 报告其他写法的框，对话页据此画出回答中的框"
    ),
    "the box {} is in the style {}, the model writes {}": "框 {} 是 {} 的写法，模型的写法是 {}",
    "Rewrite the boxes: eyegraft data convert IN OUT --to FORMAT --boxes {}": (
        "请改写框：eyegraft data convert IN OUT --to FORMAT --boxes {}"
    ),
    "the box {} leaves the image, or has no area": "框 {} 超出图片或没有面积",
    "Correct it: left, top, right and bottom inside the image, in the style of the model": (
        "请更正：左、上、右、下都在图片内，用模型的写法"
    ),
    "more than {} boxes in a text, or one of more than {} characters": "一段文本中有超过 {} 个框，或超过 {} 个字符",
    "Split the record": "请拆分该记录",
    "the box {} may be of the styles {}": "框 {} 可能是这些写法之一：{}",
    "Name the one it is in: --boxes-from": "请用 --boxes-from 指定它的写法",
    "the box {} is none of the style {}": "框 {} 不是 {} 的写法",
    "Name another --boxes-from, or correct the box": "请换一个 --boxes-from，或更正该框",
    "the box {} leaves the image, or has no area, as one of the style {}": "按 {1} 的写法，框 {0} 超出图片或没有面积",
    "Correct the box, or name another --boxes-from": "请更正该框，或换一个 --boxes-from",
    "{} images, and a box in pixels is of one of them": "有 {} 张图片，而以像素计的框只属于其中一张",
    "Split the record by its images": "请按图片拆分该记录",
    "boxes: {} written as {}": "框：{} 个改写为 {}",
    "left out: {} whose boxes could not be rewritten, first:": "跳过：{} 的框无法改写，第一条：",
    "--boxes-from: has no effect without --boxes, the style to write. Add it": (
        "--boxes-from：没有 --boxes（要写成的写法）时不起作用。请加上它"
    ),
    "How the model writes boxes; a recipe says it in data.boxes.": "模型中框的写法；配方用 data.boxes 指定。",
    "Rewrite the boxes of the texts in this style.": "把文本中的框改写成这种写法。",
    "The style they are in, where that may be several.": "它们现在的写法，可能是几种时需要指定。",
}
