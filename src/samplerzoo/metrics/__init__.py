"""Distances between two sets of features, in float64."""

from .fd import frechet_distance as frechet_distance
from .kid import kernel_distance as kernel_distance
