"""Data sets: images in a model's range, decoded when they are asked for."""

from .images import (
    AbstractDataset as AbstractDataset,
    Images as Images,
    Range as Range,
    Shape as Shape,
    other_shape as other_shape,
)
from .sources import read as read
