"""How many compiled kernels oneDNN and torch keep: nearly every pack has its own shapes, and none comes again soon."""

import os

# 60 to 110 shapes are multiplied in a step; each holds 0.3 to 1 MiB. torch's own table in front of oneDNN's is not
# needed for speed, and what stands in it oneDNN cannot let go: 1,024 shapes by default.
LIMITS = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "96", "LRU_CACHE_CAPACITY": "1"}


def limit_kernel_caches() -> None:
    """Set both, unless the user did; takes effect before the process's first product of bf16 matrices."""
    for name, limit in LIMITS.items():
        os.environ.setdefault(name, limit)
