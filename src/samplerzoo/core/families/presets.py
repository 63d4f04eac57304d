"""The solvers that have a name of their own, by their orders."""

from functools import partial

from .multistep import deis, dpmpp_multistep, dpmpp_singlestep, unipc

dpmpp_2m = partial(dpmpp_multistep, order=2)
dpmpp_3m = partial(dpmpp_multistep, order=3)
sde_dpmpp_2m = partial(dpmpp_multistep, order=2, eta=1.0)
dpmpp_2s = partial(dpmpp_singlestep, order=2)
dpmpp_3s = partial(dpmpp_singlestep, order=3)
unipc_2 = partial(unipc, order=2)
unipc_3 = partial(unipc, order=3)
deis_2 = partial(deis, degree=2)
deis_3 = partial(deis, degree=3)
