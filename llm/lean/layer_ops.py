"""RMSNorm, rotary embeddings and SwiGLU with their gradients, in as few passes over memory as torch's kernels allow.

They round where transformers' own do, or less often.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import silu

silu_into = torch.ops.aten.silu.out
silu_gradient_into = torch.ops.aten.silu_backward.grad_input


def rms_scale(x: Tensor, eps: float) -> Tensor:
    """[T, H] -> [T, 1], fp32: 1 / sqrt(mean(x^2) + eps)."""
    squares: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
    return squares.div_(x.shape[-1]).add_(eps).rsqrt_()


def scaled(x: Tensor, scale: Tensor, weight: Tensor, out: Tensor | None = None) -> Tensor:
    """RMSNorm's output: x * scale in fp32, rounded to x's dtype, times the weight."""
    return torch.mul(_wide(x).mul_(scale).to(x.dtype), weight, out=out)


def rms_gradient(dy: Tensor, x: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """The gradient of RMSNorm's input. With g = dy * weight: scale * g - x * scale^3 * mean(g x)."""
    wide, rows = torch.mul(dy, weight).float(), x.float()
    inner = torch.linalg.vecdot(wide, rows).unsqueeze_(-1)
    wide.mul_(scale).addcmul_(rows, inner.mul_(scale.pow(3)), value=-1.0 / x.shape[-1])
    return wide.to(x.dtype)


def rms_weight_gradient(dy: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """The gradient of RMSNorm's weight: [H]."""
    return _wide(x).mul_(scale).to(x.dtype).mul_(dy).sum(0)


def _wide(x: Tensor) -> Tensor:
    """A copy in fp32. Torch's product of mixed dtypes takes a third longer than this and one in place."""
    return x.to(torch.float32, copy=True)


def rotated(x: Tensor, cos: Tensor, sin: Tensor, back: bool = False, out: Tensor | None = None) -> Tensor:
    """Rotary embedding [T, heads, D] by angles [T, 1, D] whose halves are alike; `back` turns the other way.

    The rotation is orthogonal: turning a gradient back is its gradient.
    """
    half, sign = x.shape[-1] // 2, 1.0 if back else -1.0
    turned = torch.mul(x, cos, out=out)
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=sign)
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:], value=-sign)
    return turned


def gated(gate: Tensor, up: Tensor, out: Tensor | None = None) -> Tensor:
    """SwiGLU: silu(gate) * up."""
    opened: Tensor = silu(gate) if out is None else silu_into(gate, out=out)
    return opened.mul_(up)


def gated_gradients(dy: Tensor, gate: Tensor, up: Tensor, opened: Tensor, into: Sequence[Tensor]) -> None:
    """The gradients of gate and up, written `into` two tables. `dy` is used up; `opened` is silu(gate)."""
    d_gate, d_up = into
    torch.mul(opened, dy, out=d_up)
    silu_gradient_into(dy.mul_(up), gate, grad_input=d_gate)
