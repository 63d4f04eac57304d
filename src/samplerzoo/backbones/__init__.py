"""Networks."""

from .layers import (
    Conv as Conv,
    Dense as Dense,
    GroupNorm as GroupNorm,
    convolve as convolve,
    time_embedding as time_embedding,
)
from .mlp import ResidualMLP as ResidualMLP
