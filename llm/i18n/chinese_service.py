"""Chinese texts of the training service, by their English patterns."""

JOB_MESSAGES = {
    "Created fine-tuning job": "已创建微调任务",
    "Files validated, moving job to queued state": "文件检查通过，任务进入队列",
    "Fine-tuning job started": "任务开始训练",
    "The job has successfully completed": "任务已完成",
    "Fine-tuning job cancelled": "任务已取消",
    "Fine-tuning job cancelled. Training did not stop by itself and was killed; {}": (
        "任务已取消。训练没有自行停止，已被强制终止；{}"
    ),
    "Fine-tuning job paused. Training did not stop by itself and was killed; {}": (
        "任务已暂停。训练没有自行停止，已被强制终止；{}"
    ),
    "its last checkpoint is of step {}": "最后的检查点是第 {} 步",
    "it had saved no checkpoint": "没有保存过检查点",
    "Fine-tuning job paused": "任务已暂停",
    "Fine-tuning job paused after step {}": "任务已在第 {} 步后暂停",
    "Fine-tuning job resumed": "任务已恢复",
    "Fine-tuning job resumed on {}": "任务已在 {} 上恢复",
    "Cancelling: the running step is finished and saved": "正在取消：完成并保存当前这一步",
    "Pausing: the running step is finished and saved": "正在暂停：完成并保存当前这一步",
    "Training on {}": "训练数据：{}",
    "Checkpoint created at step {}": "已在第 {} 步保存检查点",
    "{}; it goes on from step {}": "{}；从第 {} 步继续",
    "the attempt ended without a word, as when a machine goes down": "这次运行没有留下结果就结束了，例如机器宕机",
    "the attempt was stopped from outside, and saved": "这次运行被外部停止，进度已保存",
    "the attempt ended with exit code {}": "这次运行以退出码 {} 结束",
    "the attempt was killed by {}": "这次运行被 {} 终止",
    "the attempt was killed by {}: out of memory?": "这次运行被 {} 终止：内存不足？",
    "{} attempts in a row ended without a new checkpoint; the last time, {}. {}": (
        "连续 {} 次运行都没有保存新的检查点就结束；最后一次：{}。{}"
    ),
    "training ended with exit code {}; see the job's log": "训练以退出码 {} 结束；请查看任务日志",
    "the plan ended without an answer (exit code {}): out of memory, or too long": (
        "计划没有得出结果就结束了（退出码 {}）：内存不足，或用时过长"
    ),
    "the look at the job's data ended without an answer {} times: out of memory, or too long": (
        "检查任务数据时 {} 次没有得到结果：内存不足，或耗时过长"
    ),
    "{}: was validated, and is not waiting for it any more": "{}：检查完成时任务已不再等待",
    "the job waits for {} slots of {} GiB, and {} has too few. Add cards, or cancel the job": (
        "任务等待 {} 个至少 {} GiB 的槽位，而 {} 没有足够多。请增加显卡，或取消任务"
    ),
    "{} cannot be asked, and nothing is done meanwhile: {}": "{} 暂时无法访问，期间不做任何操作：{}",
    "this service runs without the engine {}. Start it with --engine {}, or pause the job and resume it on another "
    "engine": "本服务启动时没有引擎 {}。请以 --engine {} 启动，或暂停任务后在其他引擎上恢复",
    "the job waits for {} slots, and {} has {}. {}": "任务需要 {} 个槽位，而 {} 只有 {} 个。{}",
    "Add cards, or cancel the job": "请增加显卡，或取消任务",
    "the slot {} has disappeared": "槽位 {} 已消失",
    "{}: the run folder is gone, with its checkpoints. Submit the job again": (
        "{}：运行文件夹及其检查点已不存在。请重新提交任务"
    ),
    "{} The job is paused after step {}: free space, then resume it": "{} 任务已在第 {} 步后暂停：请腾出空间后恢复",
    "the disk refused what the run writes.": "磁盘拒绝写入训练的输出。",
    "{}; the job is looked at again": "{}；将重新检查该任务",
    "the supervisor: {}": "调度循环：{}",
    "the page of chats could not be built: {}": "对话页面加载失败：{}",
}
"""Events of jobs, and lines of the service's log."""

REQUEST_MESSAGES = {
    "x_eyegraft.recipe.train.probes.{}.image: {} is no file of the job's archive of images; give its path inside the "
    "archive": "x_eyegraft.recipe.train.probes.{}.image：{} 不是任务图片压缩包中的文件；请写出它在压缩包内的路径",
    "{} is {}: it has no model yet": "{} 现为 {}：还没有模型",
    "there is no job {}; `eyegraft jobs ls` lists them": "没有任务 {}；`eyegraft jobs ls` 会列出全部任务",
    "there is no run {}; `eyegraft jobs ls` lists them": "没有训练 {}；`eyegraft jobs ls` 会列出全部训练",
    "after: there is no run {}": "after：没有训练 {}",
    "{} was started by `eyegraft train`; the service only watches it. {}": (
        "{} 由 `eyegraft train` 启动；服务只观察它。{}"
    ),
    "It is run by {}: stop it there, by Ctrl-C or SIGTERM": "运行它的是 {}：请在那里用 Ctrl-C 或 SIGTERM 停止",
    "It is {}": "它现为 {}",
    "--runs {}: there is no such folder": "--runs {}：没有这个文件夹",
    "{} is {} and cannot be resumed; only a paused job can": "{} 现为 {}，不能恢复；只有已暂停的任务可以恢复",
    "Wait until it is paused": "请等它暂停",
    "{} is {} and cannot be {}": "{} 现为 {}，不能执行该操作（{}）",
    "{} is {}: cancel it first, then remove it": "{} 现为 {}：请先取消，再删除",
    "{} is used by {}, which is {}: cancel the job first": "{} 正被 {} 使用（{}）：请先取消该任务",
    "this Idempotency-Key belongs to {}, which was another request. Send a new key": (
        "该 Idempotency-Key 属于 {}，那是另一个请求。请换一个"
    ),
    "there is no file {}": "没有文件 {}",
    "there is no file {}. Upload it": "没有文件 {}。请上传",
    "the content of {} is gone from the service's disk. Delete it and upload it again": (
        "{} 的内容已不在服务的磁盘上。请删除后重新上传"
    ),
    "{} is no parameter of this address; it takes {}": "这个地址没有参数 {}；可用的有：{}",
    "{} is no field of an upload; those are {}": "上传表单没有字段 {}；可用的有：{}",
    "{} is given twice": "{} 给出了两次",
    "{}: the text has a control character, or half of a surrogate pair; leave it out": (
        "{}：文本中有控制字符或不成对的代理字符；请去掉"
    ),
    "{}: NaN and infinity are no numbers of JSON; give a finite one": "{}：NaN 与无穷大不是 JSON 数字；请给出有限的数",
    "{}: the number has more than 63 bits; give a smaller one": "{}：数字超过 63 位；请给出较小的数",
    "{}: a stream has all events, or those after the header Last-Event-ID; leave it out": (
        "{}：事件流给出全部事件，或请求头 Last-Event-ID 之后的事件；请去掉"
    ),
    "{}: there is no file {}. Upload it": "{}：没有文件 {}。请上传",
    "{}: {} was uploaded for {}. Upload it again with purpose {}": "{}：{} 上传时的用途是 {}。请以用途 {} 重新上传",
    "expires_after: give anchor and seconds": "expires_after：请同时给出 anchor 和 seconds",
    "{}: {} is not the id of an event": "{}：{} 不是事件的 id",
    "after: there is no checkpoint {}": "after：没有检查点 {}",
    "model: {} cannot be trained here; offered: {}, and models trained here": (
        "model：{} 不能在这里训练；可用的有：{}，以及在这里训练出的模型"
    ),
    "x_eyegraft.engine: {} is not one of {}": "x_eyegraft.engine：{} 不在 {} 之中",
    "x_eyegraft.recipe.model.llm: follows from the job's model; leave it out": (
        "x_eyegraft.recipe.model.llm：由任务的 model 决定；请去掉"
    ),
    "{}: {} is gone from the service's disk. Upload it again": "{}：{} 已不在服务的磁盘上。请重新上传",
    "x_eyegraft.recipe.{}.{}: a job names no files of the machine; leave it out": (
        "x_eyegraft.recipe.{}.{}：任务不能指定服务器上的文件；请去掉"
    ),
    "{} is not offered yet; the service trains with method supervised": ("尚不支持 {}；本服务以 supervised 方法训练"),
    "recipe.data: sources follow from training_file and validation_file; leave them out": (
        "recipe.data：数据源由 training_file 和 validation_file 决定；请去掉"
    ),
    "hyperparameters: given here and in method; leave the older one out": (
        "hyperparameters：这里和 method 中都给出了；请去掉旧的写法"
    ),
    "recipe.{} {}; the sections are {}": "recipe.{} {}；可用的部分有 {}",
    "follows from the job": "由任务决定",
    "is no section of a recipe": "不是配方中的部分",
    "further uploads that are trained on, each in a format of its own": "另外用于训练的上传文件，格式可各不相同",
    "an uploaded archive with the images that records name": "已上传的压缩包，其中是记录引用的图片",
    "sections of a recipe and their keys, and `track`": "配方的各部分及其键，以及 `track`",
    "the older place of method's": "method 中同名项的旧位置",
    "{}: its files are gone ({}). Train it again": "{}：文件已不存在（{}）。请重新训练",
    "the records have images, and {} reads text only": "记录含有图片，而 {} 只读文本",
    "Train from a vision run, or give x_eyegraft.recipe.model.tower": (
        "请从视觉训练开始，或给出 x_eyegraft.recipe.model.tower"
    ),
    "the job needs {} GiB and the largest slot has {} GiB": "任务需要 {} GiB，而最大的槽位只有 {} GiB",
    "line {}: {}: {}. {}": "第 {} 行：{}：{}。{}",
}
"""What the service refuses."""

UPLOAD_MESSAGES = {
    "the service's disk refuses the upload: {}. Delete files or jobs, then upload again": (
        "服务的磁盘拒绝上传：{}。请删除一些文件或任务后重试"
    ),
    "{}: a file for purpose {} is named {} and the like. Give the upload a name that ends so": (
        "{}：用途为 {} 的文件应以 {} 等结尾。请为上传的文件取这样的名字"
    ),
    "the file is larger than the {} bytes that are left of the quota. Delete files that no job needs": (
        "文件超出配额所剩的 {} 字节。请删除不再需要的文件"
    ),
    "the service's disk is nearly full. Delete files or jobs, then submit the job again": (
        "服务的磁盘快满了。请删除一些文件或任务，然后重新提交任务"
    ),
    "the job's files take more than {} GiB of memory to be read. Split them": (
        "读取任务的文件需要超过 {} GiB 的内存。请拆分文件"
    ),
    "the service's disk is nearly full. Delete files or jobs, then upload again": (
        "服务的磁盘快满了。请删除文件或任务后重新上传"
    ),
    "{} is {}; an archive may hold files and folders only": "{} 是 {}；压缩包中只能有文件和文件夹",
    "{}: a name with a backslash, a colon or a control character. Rename the file": (
        "{}：文件名中有反斜杠、冒号或控制字符。请重命名"
    ),
    "{}: a name that leads out of the archive's folder. Pack it from inside the folder": (
        "{}：文件名指向压缩包文件夹之外。请在文件夹内打包"
    ),
    "{}: a name of more than {} bytes, or 255 a part. Rename the file": (
        "{}：文件名超过 {} 字节，或其中一段超过 255 字节。请重命名"
    ),
    "{}: a name that is not text. Rename the file": "{}：文件名不是文本。请重命名",
    "the file is neither a zip nor a tar archive. Pack the images with `zip -r` or `tar -czf`": (
        "该文件既不是 zip 也不是 tar。请用 `zip -r` 或 `tar -czf` 打包图片"
    ),
    "the archive holds one name twice, or a file and a folder of one name": (
        "压缩包中有重复的名字，或文件与文件夹同名"
    ),
    "the archive unpacks to more bytes than allowed. Split it, or store images as JPEG": (
        "压缩包解开后超出允许的字节数。请拆分，或将图片存为 JPEG"
    ),
    "the archive holds more than {} files. Split it": "压缩包中超过 {} 个文件。请拆分",
    "{}. Pack it again": "{}。请重新打包",
    "the archive is damaged or of an unknown kind: {}. Pack it again": "压缩包已损坏或类型未知：{}。请重新打包",
    "the archive is damaged: {}. Pack it again": "压缩包已损坏：{}。请重新打包",
}
"""Uploads and archives."""

START_MESSAGES = {
    "{}: the service's database cannot be used: {}. Check the rights and the free space, or choose another --root": (
        "{}：无法使用服务的数据库：{}。请检查权限和剩余空间，或换一个 --root"
    ),
    "{}: was written by a newer Eyegraft (its tables are version {}, this one reads {}). Upgrade Eyegraft, or choose "
    "another --root": "{}：由更新的 Eyegraft 写出（表的版本为 {}，当前版本只读 {}）。请升级 Eyegraft，或换一个 --root",
    "{}: is the database of another program. Choose another --root": "{}：是其他程序的数据库。请换一个 --root",
    "{}: a service runs there already: {}. Stop it, or choose another --root": (
        "{}：已有一个服务在运行：{}。请停止它，或换一个 --root"
    ),
    "{} is none of the service's models: {}": "{} 不是本服务的模型：{}",
    "--models {}: no model and no run is there. Name a folder that holds some": (
        "--models {}：那里没有模型，也没有训练。请写含有它们的文件夹"
    ),
    "nvidia-smi did not answer within {} s. Check the driver, then start again": (
        "nvidia-smi 在 {} 秒内没有响应。请检查驱动后重新启动"
    ),
    "no partition is up": "没有可用的分区",
    "{} did not answer within {} s": "{} 在 {} 秒内没有响应",
    "{} is not installed: the slurm engine needs Slurm's client programs": (
        "没有安装 {}：slurm 引擎需要 Slurm 的客户端程序"
    ),
    "exit code {}": "退出码 {}",
    "{}: the service does not answer ({}). Is `eyegraft service` running?": (
        "{}：服务没有响应（{}）。`eyegraft service` 在运行吗？"
    ),
    "no service is known in {} ({}). Start one with `eyegraft service`, or give --root or --url": (
        "{} 中没有服务（{}）。请用 `eyegraft service` 启动，或给出 --root 或 --url"
    ),
    "the server answered with status {}. Is it the service's address?": ("服务器返回状态码 {}。这是服务的地址吗？"),
    "http://{}:{}/v1  api key: {}": "http://{}:{}/v1  API 密钥：{}",
    "models: {}": "模型：{}",
    "no jobs yet": "还没有任务",
    "{} jobs have that in their id": "有 {} 个任务的 id 含有它",
    "no job has that in its id": "没有任务的 id 含有它",
    "{}: {}; `eyegraft jobs ls` lists them": "{}：{}；`eyegraft jobs ls` 会列出全部任务",
    "recipe.{}: write {}": "recipe.{}：请写{}",
    "a list of trackers": "跟踪工具的列表",
    "keys and values": "字段和值",
    "{}: write section.key=value, such as train.epochs=2": "{}：请写成 section.key=value，例如 train.epochs=2",
    "{}: removed": "{}：已删除",
}
"""Starting the service, and the command `eyegraft jobs`."""

SERVICE_HELP = {
    "Service": "训练服务",
    "Take training jobs by OpenAI's fine-tuning API, queue and run them, and serve the models that they train.": (
        "通过 OpenAI 的微调 API 接收训练任务，排队运行，并提供训练出的模型。"
    ),
    "Training jobs of a service: submit, list, follow, pause, resume, cancel, export, remove.": (
        "服务的训练任务：提交、列出、跟踪、暂停、恢复、取消、导出、删除。"
    ),
    "Export a checkpoint of a job that has ended, wait for it, and download it as a tar file.": (
        "导出已结束任务的检查点，等待完成，并下载为 tar 文件。"
    ),
    "tar file to write; default: its name in the service.": "要写入的 tar 文件；默认使用服务中的名字。",
    "Form of the export, as for `eyegraft export`.": "导出的形式，与 `eyegraft export` 相同。",
    "Type of the weights; default: fp32. q8_0 is for gguf and ollama.": (
        "权重的类型；默认为 fp32。q8_0 用于 gguf 和 ollama。"
    ),
    "latest, best, or a step of the job.": "latest、best，或任务的某一步。",
    "Upload data and submit a job; it is validated, planned, and waits for a free slot.": (
        "上传数据并提交任务；任务经过检查和规划，然后等待空闲槽位。"
    ),
    "List jobs and runs that were started by hand, newest first: how far each is, and the time until its end.": (
        "列出任务和手动启动的训练，最新的在前：各自的进度，以及到结束还需的时间。"
    ),
    "Show a job as JSON.": "以 JSON 显示任务。",
    "Print a job's events, oldest first. With -f the exit code is 1 when the job has failed.": (
        "输出任务的事件，最早的在前。使用 -f 时，任务失败则退出码为 1。"
    ),
    "Stop a job after the step that runs, until it is resumed; it goes on exactly where it was.": (
        "在当前这一步后停止任务，直到恢复；恢复后从原处精确继续。"
    ),
    "Seconds in which the training of a paused or cancelled job must stop; then it is killed.": (
        "被暂停或取消的任务，其训练必须在多少秒内停止；之后强制终止。"
    ),
    "Put a paused job back into the queue.": "将已暂停的任务放回队列。",
    "End a job for good; its checkpoints stay.": "终止任务；保留检查点。",
    "Remove a job that has ended, with its checkpoints, its model and its result file.": (
        "删除已结束的任务，连同检查点、模型和结果文件。"
    ),
    "List the addresses that are informed when a job ends, and how many deliveries wait, arrived or were given up.": (
        "列出任务结束时会通知的地址，以及等待、已送达和已放弃的投递数。"
    ),
    "Send again what was given up for a webhook; one that was switched off is on again.": (
        "重新投递某个 webhook 已放弃的事件；已停用的会重新启用。"
    ),
    "Its id, as `eyegraft jobs webhooks` lists it.": "它的 id，见 `eyegraft jobs webhooks`。",
    "Only what reports this job.": "只重新投递这个任务的事件。",
    "Name of a checkpoint, such as step-000500, latest or best.": "检查点名称，例如 step-000500、latest 或 best。",
    "Folder with models and runs that jobs may start from; may be repeated.": (
        "任务可以使用的模型和训练所在的文件夹；可重复。"
    ),
    "Folder of the service: its jobs, files and secret.": "服务的文件夹：任务、文件和密钥。",
    "Where jobs run that name no engine: here, or under Slurm.": "未指定引擎的任务在哪里运行：本机，或 Slurm。",
    "Folder whose runs, started by hand, are listed; may be repeated. Default: runs and --models.": (
        "列出其中手动启动的训练的文件夹；可重复。默认为 runs 与 --models 的文件夹。"
    ),
    "Hub id that jobs may start from; may be repeated.": "任务可以使用的 hub id；可重复。",
    "Option of sbatch, such as --partition=gpu; may be repeated.": "sbatch 的选项，例如 --partition=gpu；可重复。",
    "A job's id, a part of it that no other has, or `last` for the newest.": (
        "任务的 id、其中能唯一确定它的一部分，或表示最新任务的 `last`。"
    ),
    "sft, finetune or pretrain; default: what the data and the model need.": (
        "sft、finetune 或 pretrain；默认由数据与模型决定。"
    ),
    "Only the name of the trained model.": "只显示训练出的模型的名字。",
    "Folder of the service.": "服务的文件夹。",
    "Address of a service on another machine.": "另一台机器上服务的地址。",
    "Its secret; default: the one in its folder.": "服务的密钥；默认为其文件夹中的密钥。",
    "A model of the service, or one that it has trained.": "服务的模型，或它训练出的模型。",
    "Records, in any format that training reads.": "数据文件，训练能读的任何格式。",
    "Keys of the recipe: train.epochs=2": "配方的键：train.epochs=2",
    "Records that are not trained on.": "不用于训练的数据。",
    "Further file of records that are trained on; may be repeated.": "另一个训练数据文件；可以重复。",
    "zip or tar file of the images that records name.": "记录所引用图片的 zip 或 tar 文件。",
    "Part of the trained model's name.": "训练出的模型名称的一部分。",
    "Seed; default: drawn.": "随机种子；默认随机抽取。",
    "Where it runs; default: the service's first engine.": "在哪里运行；默认为服务的第一个引擎。",
    "Where it goes on; default: where it was.": "在哪里继续；默认为原来的引擎。",
    "Processes from now on; with another number it is no longer the same run.": (
        "此后的进程数；数目改变后就不再是同一次训练。"
    ),
    "Processes of the job, one a slot.": "任务的进程数，每个槽位一个。",
    "Jobs of higher priority start first.": "优先级高的任务先开始。",
    "Idempotency key: the same one again is the same job.": "幂等键：再次使用同一个键就是同一个任务。",
    "The newest so many.": "最新的若干个。",
    "One JSON object a line.": "每行一个 JSON 对象。",
    "Go on until the job has ended.": "持续输出直到任务结束。",
}
"""Help of `eyegraft service` and `eyegraft jobs`."""

BEST_MESSAGES = {
    "text that a right answer contains, whatever its case; empty: the answer is not scored": (
        "正确回答应包含的文字，不分大小写；留空：不为该回答评分"
    ),
    "save a checkpoint whenever the measure improves, and never delete the best one, which `--checkpoint best` names. "
    "validation_loss: measured every validate_every steps; reward_accuracy: with it in `stage: prefer`, the share of "
    "validation pairs whose chosen answer has the larger reward; probe_score: the share of the probes with `expect` "
    "that are answered right, measured every sample_every steps; evaluation: the main metric of the first form of `evaluate`, "
    "measured every evaluate.every steps": (
        "指标每次变好时都保存检查点，且从不删除最好的一个，可用 `--checkpoint best` 指定。validation_loss：每 "
        "validate_every 步测量一次；reward_accuracy：`stage: prefer` 中与它一同测量，验证集里优选回答奖励更高的偏好对的比例；"
        "probe_score：带 `expect` 的探针中回答正确的比例，每 sample_every 步测量一次；"
        "evaluation：`evaluate` 中第一种形式的主要指标，每 evaluate.every 步测量一次"
    ),
    "measurements of keep_best without an improvement after which the run ends; 0: it never does": (
        "keep_best 的指标连续多少次没有变好就结束训练；0：从不"
    ),
    "probe_score needs a probe with `expect`": "probe_score 需要带 `expect` 的探针",
    "{} is measured once in train.{} steps; set it above 0": "{} 每 train.{} 步测量一次；请将其设为大于 0",
    "evaluation needs train.evaluate with the files that are asked": "evaluation 需要 train.evaluate 及其中要测的文件",
    "optimizer steps between evaluations, at most those of the run; the last step is followed by one": (
        "两次评测之间的优化步数，不超过运行的总步数；最后一步之后也评测一次"
    ),
    "questions of each form that are asked, spread evenly over the files, the same ones every time; 0: all": (
        "每种形式提问的题数，在文件中均匀选取，每次都是相同的题；0：全部"
    ),
    "benchmark files of which some questions are asked every so many steps: every, files, form, images, split, limit; "
    "left out: none": (
        "训练中每隔若干步提问其中部分题目的评测文件，键为 every、files、form、images、split、limit；不填：不评测"
    ),
    "train.evaluate.files: a text model is trained, and the questions have images. Name others": (
        "train.evaluate.files：训练的是纯文本模型，而这些题目带有图片。请换用其他文件"
    ),
    "train.evaluate.files: {}; its answers are hidden. Name a file that has them": (
        "train.evaluate.files：{}；该文件不公开答案。请换用带答案的文件"
    ),
    "the model in training": "训练中的模型",
    "evaluation: {} questions, {}: {}": "评测：{} 道题，{}：{}",
    "needs train.keep_best: a measure whose improvement it waits for": ("需要 train.keep_best：它等待的就是该指标变好"),
    "{} has not improved for {} measurements; the run ends, its best checkpoint is step {}": (
        "{} 连续 {} 次测量没有变好；训练结束，最好的检查点是第 {} 步"
    ),
}
"""`train.keep_best` and `train.patience`."""

WEBHOOK_MESSAGES = {
    "webhooks: {}": "Webhook：{}",
    "Webhook {}: {} was given up at try {}: {}": "Webhook {}：{} 在第 {} 次尝试后放弃投递：{}",
    "Webhook {}: was switched off: {}. Deliveries to it are given up until it is on again": (
        "Webhook {}：已停用：{}。重新启用前不再向它投递"
    ),
    "no webhooks yet": "还没有 webhook",
    "{}: {} deliveries are sent again": "{}：重新投递 {} 个事件",
    "the endpoint answered {}": "端点返回 {}",
    "the endpoint answered {}, a redirect, which is not followed": "端点返回 {}，这是重定向，不会跟随",
    "no answer in time": "没有及时得到响应",
    "no secure connection: {}": "无法建立安全连接：{}",
    "no connection: {}": "无法连接：{}",
    "no answer of a web server ({})": "响应不是来自 Web 服务器（{}）",
    "nothing is sent there: {}": "不会向那里发送：{}",
    "the name has no address": "该名称没有地址",
    "{} is link-local or a metadata service, which hands out a machine's credentials": (
        "{} 是链路本地地址或元数据服务，会泄露机器的凭据"
    ),
    "{} is the address of no single machine": "{} 不是单台机器的地址",
    "{} is of this machine or a private network, and the service is public": (
        "{} 属于本机或私有网络，而本服务是公开的"
    ),
    "url: {}. Name another address": "url：{}。请换一个地址",
    "url: {} characters, at most {} are taken. Give a shorter one": "url：{} 个字符，最多 {} 个。请给出较短的",
    "url: has a space, a control character or one beyond ASCII. Write it percent-encoded": (
        "url：含有空格、控制字符或非 ASCII 字符。请使用百分号编码"
    ),
    "url: {}. Write http://HOST:PORT/PATH or https://HOST/PATH": (
        "url：{}。请写成 http://HOST:PORT/PATH 或 https://HOST/PATH"
    ),
    "url: is not the address of a web server. Write http://HOST:PORT/PATH or https://HOST/PATH": (
        "url：不是 Web 服务器的地址。请写成 http://HOST:PORT/PATH 或 https://HOST/PATH"
    ),
    "url: has a user name, a password or a fragment (#), which are never sent. Leave them out": (
        "url：含有用户名、密码或片段（#），它们不会被发送。请去掉"
    ),
    "url: {} is not the name of a host. Correct it": "url：{} 不是主机名。请改正",
    "there are {} webhook endpoints already. Delete one first": "已有 {} 个 webhook 端点。请先删除一个",
    "there is no webhook endpoint {}": "没有 webhook 端点 {}",
    "{} has {} secrets that sign. Rotate when the oldest has expired, or without keep_old_secret_active_for_24_hours": (
        "{} 有 {} 个仍在签名的密钥。请等最早的过期后再轮换，或不使用 keep_old_secret_active_for_24_hours"
    ),
    "{} is never sent by this service, which only trains; sent: {}": "本服务只做训练，从不发送 {}；会发送的有：{}",
}
"""Webhooks: what is refused, and why a delivery did not arrive."""

EXPORTED_MESSAGES = {
    "{} is {} and cannot be exported yet; wait until it has ended": "{} 现为 {}，还不能导出；请等任务结束",
    "{} has no weights in {}; it has {}": "{} 没有 {} 类型的权重；可用的有 {}",
    "{}: cannot be written: {}. Choose another place": "{}：无法写入：{}。请换一个位置",
    "{} has no export {}; it may have been removed": "{} 没有导出 {}；它可能已被删除",
    "the export takes about {} bytes, and {} are left of the quota and the disk. Remove exports or jobs that are not "
    "needed, then export again": ("导出约需 {} 字节，配额和磁盘只剩 {} 字节。请删除不需要的导出或任务，然后重新导出"),
    "{}: the export did not end within {} s. Remove it again": "{}：导出未能在 {} 秒内结束。请再次删除",
    "the export was interrupted, as when the machine goes down. Export again": "导出被中断，例如机器停机。请重新导出",
    "the export was killed: out of memory? Export when no job runs, or on a machine with more memory": (
        "导出进程被强制结束，可能是内存不足。请在没有任务运行时导出，或换用内存更大的机器"
    ),
    "the export ended with exit code {}; see the log in its folder": "导出以退出码 {} 结束；请查看其文件夹中的日志",
    "{}: cannot be started: {}": "{}：无法启动：{}",
    "the export is {}; only one that has succeeded can be downloaded": "导出现为 {}；只有成功的导出可以下载",
    "the files of the export cannot be read: {}. Remove it and export again": (
        "无法读取导出的文件：{}。请删除后重新导出"
    ),
    "checkpoint: {} is not one of {}": "checkpoint：{} 不属于 {}",
    "there is no such checkpoint or format": "没有这个检查点或格式",
    "`latest`, `best`, or the id of a checkpoint of the job": "`latest`、`best`，或该任务某个检查点的 id",
    "fp32 when left out; q8_0 is for gguf and ollama": "省略时为 fp32；q8_0 用于 gguf 和 ollama",
    "{} became shorter while it was sent": "{} 在发送时变短了",
}
"""Exports of jobs: what is refused, and why one has failed."""

SERVICE_MESSAGES = (
    EXPORTED_MESSAGES
    | JOB_MESSAGES
    | REQUEST_MESSAGES
    | UPLOAD_MESSAGES
    | START_MESSAGES
    | SERVICE_HELP
    | BEST_MESSAGES
    | WEBHOOK_MESSAGES
)
