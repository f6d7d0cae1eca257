"""Chinese texts on written files and on images, by their English patterns."""

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
