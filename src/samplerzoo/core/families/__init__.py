"""Parametric sampler families."""

from .ddim import DDIM as DDIM
from .ddpm import DDPM as DDPM
from .family import AbstractFamily as AbstractFamily, free_parameters as free_parameters
from .fixed import FixedTable as FixedTable
from .gddim import GDDIM as GDDIM
from .grids import GRIDS as GRIDS, STRIDES as STRIDES, named_grid as named_grid
from .guided import Guided as Guided, guide as guide
from .multistep import (
    ExponentialIntegrator as ExponentialIntegrator,
    deis as deis,
    dpmpp_multistep as dpmpp_multistep,
    dpmpp_singlestep as dpmpp_singlestep,
    exponential as exponential,
    ipndm as ipndm,
    unipc as unipc,
)
from .rddim import RDDIM as RDDIM
from .tableaus import RungeKutta as RungeKutta, heun as heun, runge_kutta as runge_kutta
from .times import PlacedTimes as PlacedTimes, Times as Times
