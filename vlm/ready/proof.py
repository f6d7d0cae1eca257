"""The proof that a ready model is computed here as plain transformers computes it, and what that allows.

Three records (text, one image, two images) go through `model(**processor(...))` and through our own path. Compared are
token ids, logits at every position, and the gradient of the answers' loss. Then the same records in one pack are
compared with each alone, two questions about one image with a shared prefix with the two records, and the features of
an image alone with those beside another. The first way to attend to packs that holds is the one that trains; where none
does, the model is refused, with what differs.
"""

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy

from llm.data.prefix_sharing import share_one_prefix
from llm.encoding.encoder import IGNORED, Sample
from llm.errors import ModelError
from llm.formats.conversation import Conversation
from vlm.ready.batch import collate_ready
from vlm.ready.encoder import ReadyEncoder
from vlm.ready.forward import at_targets, every_position
from vlm.ready.proof_records import PlainRecord, another_question, proof_records
from vlm.ready.ready_model import ReadyVlm
from vlm.ready.ways import Way
from vlm.vision.images import read_image

LOGITS, COSINE, PACKED = 1e-4, 0.9999, 1e-5
"""Largest difference of logits from plain transformers and least cosine of gradients, in fp32; of packed from alone."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one comparison found: the largest difference, or for gradients the least cosine."""

    what: str
    found: float
    limit: float

    @property
    def holds(self) -> bool:
        """Whether it is within the limit."""
        return self.found >= self.limit if self.what == "gradients" else self.found <= self.limit

    def __str__(self) -> str:
        if self.what == "gradients":
            return f"the cosine of the gradients is {self.found:.6f}, at least {self.limit:g} is needed"
        return f"the {self.what} differ by {self.found:.1e}, at most {self.limit:g} is allowed"


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found of a model: the way it attends to packs, and what else holds."""

    way: Way
    against_plain: tuple[Finding, ...]
    packed: Finding
    prefixes: Finding | None  # None: this way shares none
    features: Finding
    tried: tuple[tuple[Way, Finding], ...] = field(default=())  # ways before this one, and what does not hold there

    def facts(self) -> dict[str, object]:
        """What was found, for the report of a run."""
        tried = {way.value: str(finding) for way, finding in self.tried}
        others = (self.packed, self.features, *([self.prefixes] if self.prefixes else []))
        found = {one.what: one.found for one in (*self.against_plain, *others)}
        return {"way": self.way.value, "tried": tried, "shares_prefixes": self.shares_prefixes, **found}

    @property
    def shares_prefixes(self) -> bool:
        """Whether records with a common prefix may be computed as a tree."""
        return self.prefixes is not None and self.prefixes.holds

    @property
    def caches_features(self) -> bool:
        """Whether an image's features are the same beside other images."""
        return self.features.holds


def prove(vlm: ReadyVlm) -> Proof:
    """Prove a model, and leave it attending in the way that was found. Raises ModelError with what differs."""
    encoder = ReadyEncoder(vlm.processor)
    with tempfile.TemporaryDirectory(prefix="eyegraft-proof-") as folder:
        records = proof_records(Path(folder), vlm.processor.takes_suffix)
        samples = [_encoded(encoder, record) for record in records.values()]
        plain = [PlainRecord.of(vlm, record) for record in records.values()]
        for name, sample, other in zip(records, samples, plain, strict=True):
            _refuse_other_ids(vlm, name, sample, other.ids)
        tried: list[tuple[Way, Finding]] = []
        for way in Way:
            vlm.attend(way)
            findings = [*_against_plain(vlm, samples, plain)]
            packed = _packed(vlm, samples)
            failed = next((one for one in (*findings, packed) if not one.holds), None)
            if failed is None:
                prefixes = _shared(vlm, encoder, records["one image"]) if way == Way.SPANS else None
                return Proof(way, tuple(findings), packed, prefixes, _features(vlm, samples[-1]), tuple(tried))
            tried.append((way, failed))
    raise _refused(vlm, tried[-1][1])


def _encoded(encoder: ReadyEncoder, record: Conversation) -> Sample:
    [sample] = encoder.encode(record)
    return sample


def _refuse_other_ids(vlm: ReadyVlm, name: str, sample: Sample, plain: list[int]) -> None:
    ours = sample.ids.tolist()
    if ours == plain[: len(ours)]:
        return
    at = next((at for at, (a, b) in enumerate(zip(ours, plain, strict=False)) if a != b), min(len(ours), len(plain)))
    decode = vlm.processor.tokenizer.decode
    raise ModelError(
        f"{vlm.processor.name}: a record ({name}) becomes other tokens here than by its own processor: token {at} is "
        f"{decode(ours[at : at + 1])!r} here and {decode(plain[at : at + 1])!r} there. It cannot be trained here"
    )


def _against_plain(vlm: ReadyVlm, samples: Sequence[Sample], plain: Sequence[PlainRecord]) -> list[Finding]:
    """Logits at every position and gradients, of each record alone."""
    difference, cosine = 0.0, 1.0
    for sample, other in zip(samples, plain, strict=True):
        labels = torch.from_numpy(sample.labels).long()
        ours = every_position(vlm, collate_ready([sample], vlm))
        theirs = other.logits(vlm)[: len(labels)]
        difference = max(difference, _difference(ours, theirs))
        cosine = min(cosine, _cosine(_gradient(vlm.hf, ours, labels), _gradient(vlm.hf, theirs, labels)))
    return [Finding("logits", difference, LOGITS), Finding("gradients", cosine, COSINE)]


def _packed(vlm: ReadyVlm, samples: Sequence[Sample]) -> Finding:
    """Logits at the targets of all records in one pack, and of each alone."""
    with torch.no_grad():
        together = at_targets(vlm, collate_ready(samples, vlm))
        alone = [at_targets(vlm, collate_ready([sample], vlm)) for sample in samples]
    return Finding("logits of a pack", _difference(together, torch.cat(alone)), PACKED)


def _shared(vlm: ReadyVlm, encoder: ReadyEncoder, record: Conversation) -> Finding:
    """Logits at the targets of two questions about one image that share a prefix, and of each alone."""
    samples = [_encoded(encoder, one) for one in (record, another_question(record))]
    tree = share_one_prefix(samples, vlm.processor.row_id)
    with torch.no_grad():
        together = at_targets(vlm, collate_ready([tree], vlm))
        alone = [at_targets(vlm, collate_ready([sample], vlm)) for sample in samples]
    return Finding("logits after a shared prefix", _difference(together, torch.cat(alone)), PACKED)


def _features(vlm: ReadyVlm, sample: Sample) -> Finding:
    """Features of each image of a record by itself, and beside the others."""
    images = [read_image(image) for image in sample.images]
    with torch.no_grad():
        beside = vlm.features(vlm.processor.inputs(images))
        alone = [vlm.features(vlm.processor.inputs([image])) for image in images]
    layers = zip((beside.rows, *beside.layers), *((one.rows, *one.layers) for one in alone), strict=True)
    found = max(_difference(together, torch.cat(parts)) for together, *parts in layers)
    return Finding("image features", found, PACKED)


def _difference(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest value where that is above 1.

    Infinite for tensors of other shapes, and where a value is not a number.
    """
    if one.shape != other.shape:
        return math.inf
    with torch.no_grad():
        found = float((one - other).abs().max() / other.abs().max().clamp(min=1))
    return math.inf if math.isnan(found) else found


def _cosine(one: Tensor, other: Tensor) -> float:
    found = float(cosine_similarity(one.double(), other.double(), 0))
    return -1.0 if math.isnan(found) else found


def _gradient(model: nn.Module, logits: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the answer's loss for all vectors among the parameters: norms, biases, image marks.

    Of a large model they take little memory, and every one of its parts has some.
    """
    loss = cross_entropy(logits.float(), labels.to(logits.device), ignore_index=IGNORED, reduction="sum")
    vectors = [one for one in model.parameters() if one.ndim == 1 and one.requires_grad]
    found = torch.autograd.grad(loss, vectors, allow_unused=True)
    return torch.cat(
        [torch.zeros_like(one) if part is None else part for one, part in zip(vectors, found, strict=True)]
    )


def _refused(vlm: ReadyVlm, finding: Finding) -> ModelError:
    return ModelError(
        f"{vlm.processor.name}: {vlm.name} computes something else here than in plain transformers: {finding}. "
        "It cannot be trained here"
    )
