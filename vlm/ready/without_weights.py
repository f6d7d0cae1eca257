"""A recipe's ready model on torch's meta device: shapes and dtypes from config.json, without weights."""

from llm.forward.chunked_loss import in_chunks
from llm.library_errors import as_model_error
from llm.model.meta_model import META, quantise
from llm.model.model_folder import TEXT_FILES, local_folder
from llm.model.precision import dtype_of
from llm.train.optimizer import ParamGroup
from vlm.ready.forward import ReadyModule
from vlm.ready.parts import train_parts
from vlm.ready.quantised import empty_model
from vlm.ready.ready_model import ReadyVlm, open_processor, refuse_closed
from vlm.ready.ways import Way
from vlm.ready_config import ReadyRunConfig


def ready_without_weights(config: ReadyRunConfig) -> tuple[ReadyModule, list[ParamGroup]]:
    """The recipe's model as training finds it, and its parameter groups; raises ModelError as `open_ready`.

    Its folder needs config.json and the files of its processor. It attends to packs causally: what another way needs
    besides is a mask.
    """
    path = config.model.llm
    processor = open_processor(path)
    with as_model_error(f"{path}: config.json gives no vision language model"):
        model = empty_model(local_folder(path, TEXT_FILES), dtype_of(config))
    refuse_closed(path, model)
    vlm = ReadyVlm(model.eval(), processor)
    vlm.hf.config.get_text_config().use_cache = False
    vlm.attend(Way.SPANS)
    if config.tune.in_four_bits:
        quantise(vlm.text)
    with META:
        return ReadyModule(vlm, in_chunks(config)), train_parts(vlm, config)
