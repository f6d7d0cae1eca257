"""The proof of a ready model in lines for people: what it can do here, and what was compared."""

from collections.abc import Iterator

from vlm.ready.proof import Finding, Proof, prove
from vlm.ready.ready_model import ReadyVlm, open_ready
from vlm.ready.ways import Way

_NOT = {Way.SPANS: "not spans", Way.RECORDS: "not records"}  # the ways before the one that holds


def inspect_folder(path: str) -> list[str]:
    """Open a VLM folder or hub id, prove it, and tell in lines what it can do here. Raises ModelError."""
    vlm = open_ready(path)
    return [*_about(vlm), *proof_lines(prove(vlm), vlm.processor.counts)]


def proof_lines(proof: Proof, counts: tuple[bool, bool]) -> Iterator[str]:
    """The proof in lines; `counts` is `ReadyProcessor.counts`."""
    yield "token ids        those of its own processor"
    for finding in proof.against_plain:
        yield f"{finding.what:<15}  {_found(finding)}"
    for way, failed in proof.tried:
        yield f"{_NOT[way]:<15}  {failed}"
    yield f"packs records    {_packs(proof)}"
    yield f"shares prefixes  {_shares(proof)}"
    yield f"caches features  {_caches(proof)}"
    yield f"counts tokens    {_counts(counts)}"


def _about(vlm: ReadyVlm) -> Iterator[str]:
    size = sum(parameter.numel() for parameter in vlm.hf.parameters())
    yield f"model            {vlm.name} with {size:,} parameters"
    yield f"positions        {'its own for images' if vlm.has_own_positions else 'one a token'}"


def _found(finding: Finding) -> str:
    if finding.what == "gradients":
        return f"cosine {finding.found:.6f} with those of plain transformers"
    return f"within {finding.found:.1e} of plain transformers"


def _packs(proof: Proof) -> str:
    if proof.way == Way.ALONE:
        return "no: records are computed one by one"
    if proof.way == Way.RECORDS:
        return f"yes, with its own mask for each record: within {proof.packed.found:.1e} of each alone"
    return f"yes, with causal attention: within {proof.packed.found:.1e} of each alone"


def _shares(proof: Proof) -> str:
    if proof.prefixes is None:
        return "no: it does not attend causally here"
    if proof.shares_prefixes:
        return f"yes: within {proof.prefixes.found:.1e} of each alone"
    return f"no: {proof.prefixes}"


def _caches(proof: Proof) -> str:
    if proof.caches_features:
        return "yes: an image has the same features alone and beside others"
    return "no: an image has other features beside others"


def _counts(counts: tuple[bool, bool]) -> str:
    one, several = counts
    if one and several:
        return "from the size of an image alone"
    return "from the size for one image, by its processor for several" if one else "by its processor for each size"
