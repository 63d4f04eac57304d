"""Parametric sampler families."""

from .ddim import DDIM as DDIM
from .ddpm import DDPM as DDPM
from .family import AbstractFamily as AbstractFamily, free_parameters as free_parameters
from .gddim import GDDIM as GDDIM
from .rddim import RDDIM as RDDIM
from .grids import GRIDS as GRIDS, STRIDES as STRIDES, named_grid as named_grid
from .times import Times as Times
