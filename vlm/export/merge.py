"""`eyegraft merge`: merge a LoRA adapter into the weights of its model."""

from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel, PreTrainedTokenizerBase

from llm.errors import ConfigError, ModelError
from llm.files.folder_replacement import Origin, check_replaceable, source_of
from llm.library_errors import as_model_error
from llm.log import logger
from llm.model import hf_loaders
from llm.model.adapter_files import vocabulary_rows
from llm.model.batch_proof import prove_text_batch
from llm.model.eval_mode import asked_of_generation
from llm.model.exported_tokenizer import inference_tokenizer
from llm.model.hf_export import PROMPT_LENGTH, difference, logits, reload, reload_tokenizer, write_and_prove
from llm.model.model_folder import TEXT_FILES, TOKENIZER_FILES, local_folder, read_model_config
from llm.model.precision import DTYPES
from llm.model.remote_code import PROCESSOR_FILES
from vlm.export.next_commands import log_next_commands
from vlm.export.prompt_check import note_of
from vlm.export.same_base import compare_bases
from vlm.model.adapter_folder import AdapterFolder, find_adapter


def merge(
    base: str,
    adapter: Path,
    out: Path,
    dtype: Literal["fp32", "bf16"] = "bf16",
    shard: str = "5GB",
    replace: bool = False,
) -> float:
    """Write `base` with `adapter` merged and reload it by transformers; returns the largest difference of a logit.

    The merge is computed in fp32 and rounded once. Embeddings grow to the adapter's; its tokenizer and template are
    written where its folder has them, else the base's. Raises ConfigError for a folder that is no adapter, ModelError
    when the base cannot be loaded or the adapter does not fit it, RunError when `out` holds anything but an earlier
    merge of the same two; with `replace`, anything but an export or merge.
    """
    found = find_adapter(adapter)
    if found is None:
        raise ConfigError(f"{adapter}: adapter_config.json is missing. Name the folder that peft's save wrote")
    below = Path(base).expanduser()
    source = source_of("merge", below if below.is_dir() else base, found.path)
    origin = Origin(source, f"{adapter.name} merged into {below.name}", replace, merged="lora")
    check_replaceable(out, origin)  # before the model is loaded
    compare_bases(base, found)
    folder = local_folder(base, (*TEXT_FILES, "*.safetensors"))
    sees = "vision_config" in read_model_config(base, folder)
    auto = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    with as_model_error(f"{found.path} cannot be loaded onto {base}"):
        model = hf_loaders.load_model(auto, folder, dtype=torch.float32)
        before = vocabulary_rows(model)
        adapted = hf_loaders.load_adapter(model, found.path).eval()
        inputs, tokens = _load_inputs(folder, found, sees)
    _check_vocabulary(model, tokens, found, before)
    seed = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.config.get_text_config().vocab_size, (1, PROMPT_LENGTH), generator=seed)
    with torch.no_grad():
        expected = adapted(input_ids=ids, use_cache=False).logits

    def write(target: Path) -> None:
        plain = cast(PreTrainedModel, adapted.merge_and_unload())
        nn.Module.to(plain, DTYPES[dtype])
        if (found.path / "generation_config.json").is_file():
            asked = asked_of_generation(plain)
            plain.generation_config = hf_loaders.generation_config(found.path)
            if asked and asked != asked_of_generation(plain):
                logger.info(f"{out}: has the adapter's generation_config.json; the base's asks for {asked}")
        plain.save_pretrained(target, max_shard_size=shard)
        inputs.save_pretrained(target)

    def prove(target: Path) -> float:
        plain = reload(auto, target)
        largest = difference(logits(plain, input_ids=ids), expected, DTYPES[dtype])
        prove_text_batch(plain, reload_tokenizer(target))
        return largest

    largest = write_and_prove(out, write, prove, origin)
    logger.info(f"{out}: merged, logits differ by at most {largest:.2e}, batches are answered as one by one")
    if note := note_of(tokens):
        logger.warning(f"{out}: {note}")
    log_next_commands("hf", out, sees)
    return largest


def _load_inputs(base: Path, adapter: AdapterFolder, sees: bool) -> tuple[Any, PreTrainedTokenizerBase]:
    """What to save, a tokenizer or for a vision model a processor, and the tokenizer in it, for inference.

    They are the adapter's where its folder has them.
    """
    tokens = adapter.path if any((adapter.path / name).is_file() for name in TOKENIZER_FILES) else base
    tokenizer = inference_tokenizer(hf_loaders.load_tokenizer(tokens))
    if not sees:
        return tokenizer, tokenizer
    own = any((adapter.path / name).is_file() for name in PROCESSOR_FILES)
    processor = hf_loaders.load_processor(adapter.path if own else base)
    processor.tokenizer = tokenizer
    if tokenizer.chat_template is not None:
        processor.chat_template = tokenizer.chat_template
    return processor, tokenizer


def _check_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, adapter: AdapterFolder, before: int
) -> None:
    """Report a grown vocabulary. Raises ModelError where the tokenizer has tokens that the model has no rows for."""
    rows, largest = vocabulary_rows(model), max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        raise ModelError(
            f"{adapter.path}: its tokenizer has {largest + 1:,} tokens, the model {rows:,} embeddings, and the adapter "
            "holds none for the added ones. Train it with modules_to_save: [embed_tokens, lm_head], or remove the "
            "tokenizer's files from its folder to merge with the base's"
        )
    if rows != before:
        logger.info(f"{adapter.path}: the vocabulary grows from {before:,} to {rows:,} tokens, as the adapter has them")
