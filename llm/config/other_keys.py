"""Settings of other trainers by their names there, and the keys that they have in a recipe."""

NOTHING_RESUME = "not needed: the same command resumes"
NOTHING_STEP = "not needed: train.batch counts the samples of an optimizer step, over all devices"

OTHER_KEYS: dict[str, str] = {
    # XTuner's options
    **dict.fromkeys(("work_dir", "output_dir"), "out"),
    "cfg_options": "KEY=VALUE after the recipe",
    "config": "the recipe itself, without an option",
    "launcher": "--nproc N on one machine, torchrun on several",
    **dict.fromkeys(("nproc_per_node", "num_gpus", "n_gpu", "gpus"), "--nproc N"),
    **dict.fromkeys(("resume", "auto_resume", "resume_from_checkpoint", "overwrite_output_dir"), NOTHING_RESUME),
    # models
    **dict.fromkeys(("model_name_or_path", "model_id_or_path", "base_model", "llm_name_or_path"), "model.llm"),
    **dict.fromkeys(("vision_tower", "visual_encoder", "visual_encoder_name_or_path"), "model.tower"),
    **dict.fromkeys(("mm_projector_type",), "model.projector"),
    **dict.fromkeys(("pretrain_mm_mlp_adapter", "pretrained_pth"), "model.projector_weights"),
    "mm_vision_select_layer": "model.tower_layer",
    **dict.fromkeys(("adapter_name_or_path", "adapters"), "from, which names a run folder"),
    # data
    **dict.fromkeys(("dataset", "datasets", "data_path", "train_file", "dataset_dir"), "data.sources.0.path"),
    **dict.fromkeys(("image_folder", "media_dir"), "data.sources.0.images"),
    **dict.fromkeys(("val_dataset", "eval_dataset"), "data.validation_sources.0.path"),
    **dict.fromkeys(("val_size", "split_dataset_ratio", "val_set_size"), "data.validation"),
    **dict.fromkeys(("chat_template", "prompt_template"), "data.template"),
    **dict.fromkeys(
        ("cutoff_len", "model_max_length", "max_seq_length", "max_seq_len", "sequence_len"), "data.max_length"
    ),
    "overwrite_cache": "not needed: what is encoded is found again by its content",
    **dict.fromkeys(("preprocessing_num_workers", "dataloader_num_workers"), "not needed: batches are made ahead"),
    # tuning
    **dict.fromkeys(
        ("finetuning_type", "train_type", "tuner_type", "sft_type", "peft_type", "adapter"),
        "tune.kind: full, lora or qlora",
    ),
    **dict.fromkeys(("quantization_bit", "quant_bits", "load_in_4bit"), "tune.kind: qlora"),
    **dict.fromkeys(("lora_rank", "lora_r"), "tune.rank"),
    "lora_alpha": "tune.alpha",
    "lora_dropout": "tune.dropout",
    **dict.fromkeys(("lora_target", "lora_target_modules", "target_modules"), "tune.targets"),
    **dict.fromkeys(("freeze_vision_tower", "freeze_vit", "freeze_visual_encoder"), "tune.tower: frozen, lora or full"),
    **dict.fromkeys(("freeze_llm", "freeze_language_model"), "tune.kind: frozen"),
    # optimizer
    **dict.fromkeys(("learning_rate",), "optim.lr"),
    **dict.fromkeys(("mm_projector_lr", "aligner_lr"), "optim.projector_lr"),
    **dict.fromkeys(("warmup_ratio", "warmup_steps"), "optim.warmup, a fraction of all steps"),
    "lr_scheduler_type": "optim.schedule",
    "max_grad_norm": "optim.clip",
    "optimizer": "optim.name",
    # loop
    **dict.fromkeys(("num_train_epochs", "num_epochs", "max_epochs"), "train.epochs"),
    **dict.fromkeys(
        ("per_device_train_batch_size", "micro_batch_size", "batch_size"),
        "train.batch, which counts the samples of an optimizer step, over all devices",
    ),
    **dict.fromkeys(("gradient_accumulation_steps", "accumulative_counts"), NOTHING_STEP),
    **dict.fromkeys(("fp16", "bf16", "torch_dtype"), "train.dtype: auto, bf16 or fp32"),
    **dict.fromkeys(("gradient_checkpointing", "activation_checkpointing"), "train.recompute"),
    **dict.fromkeys(("sample_packing", "neat_packing", "pack_to_max_length"), "not needed: samples are always packed"),
    **dict.fromkeys(
        ("flash_attn", "attn_impl", "attn_implementation"), "not needed: the fastest that is installed is used"
    ),
    "logging_steps": "train.log_every",
    "save_steps": "train.save_every",
    **dict.fromkeys(("eval_steps", "eval_strategy", "evaluation_strategy"), "train.validate_every"),
    "save_total_limit": "train.keep",
    "report_to": "track, a list of trackers",
    **dict.fromkeys(("plot_loss", "logging_dir"), "not needed: metrics.jsonl and loss.png are always written"),
    **dict.fromkeys(("trust_remote_code",), "not needed: code of a model folder is never run"),
    "sequence_parallel_size": "parallel.sequence",
    **dict.fromkeys(("do_train", "do_eval"), "not needed: `eyegraft train` trains, `eyegraft eval` evaluates"),
}

# Names that other trainers give to DeepSpeed's configurations.
ZERO_ALIASES = {f"deepspeed_{name}": name for name in ("zero1", "zero2", "zero2_offload", "zero3", "zero3_offload")}


def other_key(name: str) -> str:
    """What a setting of another trainer is called here, as advice; empty for an unknown one."""
    return OTHER_KEYS.get(name.lstrip("-").replace("-", "_"), "")
