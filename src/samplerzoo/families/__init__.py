"""Parametric sampler families."""

from ._family import AbstractFamily as AbstractFamily, free_parameters as free_parameters
from ._times import STRIDES as STRIDES, Times as Times
from .ddim import DDIM as DDIM
from .ddpm import DDPM as DDPM
from .gddim import GDDIM as GDDIM
from .rddim import RDDIM as RDDIM
