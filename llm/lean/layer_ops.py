"""RMSNorm, rotary embeddings and SwiGLU with their gradients, in as few passes over memory as torch's kernels allow.

They round at the same points as transformers' own, or at fewer.
"""

import torch
from torch import Tensor
from torch.nn.functional import silu

silu_gradient = torch.ops.aten.silu_backward


def rms_scale(x: Tensor, eps: float) -> Tensor:
    """[T, H] -> [T, 1], fp32: 1 / sqrt(mean(x^2) + eps)."""
    squares: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
    return squares.div_(x.shape[-1]).add_(eps).rsqrt_()


def scaled(x: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """RMSNorm's output: x * scale in fp32, rounded to x's dtype, times the weight."""
    return torch.mul(_wide(x).mul_(scale).to(x.dtype), weight)


def rms_gradient(dy: Tensor, x: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """The gradient of RMSNorm's input. With g = dy * weight: scale * g - x * scale^3 * mean(g x)."""
    wide, x_wide = torch.mul(dy, weight).float(), x.float()
    inner = torch.linalg.vecdot(wide, x_wide).unsqueeze_(-1)
    wide.mul_(scale).addcmul_(x_wide, inner.mul_(scale.pow(3)), value=-1.0 / x.shape[-1])
    return wide.to(x.dtype)


def rms_weight_gradient(dy: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """The gradient of RMSNorm's weight: [H]."""
    return _wide(x).mul_(scale).to(x.dtype).mul_(dy).sum(0)


def _wide(x: Tensor) -> Tensor:
    """A copy in fp32. torch's product of mixed dtypes takes a third longer than this copy and an in-place product."""
    return x.to(torch.float32, copy=True)


def rotated(x: Tensor, cos: Tensor, sin: Tensor, back: bool = False) -> Tensor:
    """Rotary embedding of [T, heads, D] by angles [T, 1, D] whose halves are equal; `back` rotates by minus the angles.

    The rotation is orthogonal: its gradient is the output's gradient rotated back.
    """
    half, sign = x.shape[-1] // 2, 1.0 if back else -1.0
    turned = torch.mul(x, cos)
    turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=sign)
    turned[..., half:].addcmul_(x[..., :half], sin[..., half:], value=-sign)
    return turned


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """SwiGLU: silu(gate) * up."""
    return silu(gate).mul_(up)


def gated_grads(dy: Tensor, gate: Tensor, up: Tensor, silu_gate: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of gate and up. `dy`, the gradient of `gated`, is overwritten; `silu_gate` is silu(gate)."""
    d_up = silu_gate * dy
    return silu_gradient(dy.mul_(up), gate), d_up
