"""The same search step as a PyTorch user would write it, with diffusers' UNet2DModel.

Each step of the chain is one `torch.utils.checkpoint`; the network's weights take no gradient.
The tables are those of RDDIM and full-past GDDIM around DDIM (eta = 0, linear stride), with the
free parameters all 0 at the start; the objective is KID with the polynomial kernel of degree 3.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def make_network(config: dict, device: str = "cpu", channels_last: bool = True) -> UNet2DModel:
    """A frozen network with random weights."""
    torch.manual_seed(0)
    network: Any = UNet2DModel(**config).eval().requires_grad_(False)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return network.to(device=device, memory_format=layout)


def levels(steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Timesteps (K,), and alpha and sigma (K + 1,) from the first to data, of DDPM's 1000 betas."""
    signal = np.append(1.0, np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))
    index = np.rint(1000 * (1 - np.arange(steps + 1) / steps)).astype(int)
    alpha, sigma = np.sqrt(signal[index]), np.sqrt(1 - signal[index])
    return torch.tensor(index[:-1] - 1), torch.tensor(alpha).float(), torch.tensor(sigma).float()


def start_rddim(steps: int) -> dict[str, Tensor]:
    return {name: torch.zeros(steps, requires_grad=True) for name in ("mu", "nu", "sigma")}


def rddim(free: dict[str, Tensor], alpha: Tensor, sigma: Tensor) -> tuple[Tensor, ...]:
    """Factors (K, 1) of x0 and of eps, and the level of the fresh noise (K,)."""
    clean = alpha[1:] + free["mu"] + free["nu"] * alpha[:-1]
    noise = sigma[1:] + free["nu"] * sigma[:-1]
    return clean[:, None], noise[:, None], free["sigma"]


def start_gddim(steps: int) -> dict[str, Tensor]:
    shapes = {"mu0": (steps,), "mu": (steps, steps), "sigma": (steps,)}
    return {name: torch.zeros(shape, requires_grad=True) for name, shape in shapes.items()}


def gddim(free: dict[str, Tensor], alpha: Tensor, sigma: Tensor) -> tuple[Tensor, ...]:
    """As `rddim`, with factors (K, K): entry [n, d] is of step n in the state after step n + d."""
    first = torch.zeros_like(free["mu"])
    first[:, 0] = 1
    clean = free["mu"] * alpha[:-1, None] + first * (alpha[1:] + free["mu0"])[:, None]
    noise = free["mu"] * sigma[:-1, None] + first * sigma[1:, None]
    return clean, noise, free["sigma"]


FAMILIES = {"rddim": (start_rddim, rddim), "gddim": (start_gddim, gddim)}


def estimate(network, x: Tensor, t: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """x0, clipped, and the eps that goes with it."""
    x0 = ((x - sigma * network(x, t).sample) / alpha).clamp(-1, 1)
    return x0, (x - alpha * x0) / sigma


def sample(network, table, chain, x: Tensor, draw: Callable[[int], Tensor]) -> Tensor:
    """Samples from the states `x`; `draw(n)` is the fresh noise of the state after step n."""
    (clean, noise, fresh), (times, alpha, sigma) = table, chain
    depth, seen = clean.shape[1], []
    for n, t in enumerate(times):
        seen.append(
            checkpoint(
                estimate,
                network,
                x,
                t,
                alpha[n],
                sigma[n],
                use_reentrant=False,
                preserve_rng_state=False,
            )
        )
        x = fresh[n] * draw(n)
        for d in range(min(depth, n + 1)):
            x0, eps = seen[n - d]
            x = x + clean[n - d, d] * x0 + noise[n - d, d] * eps
        if depth == 1:
            seen[n] = None
    return x


def gram(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def kid(samples: Tensor, reference: Tensor, constant: Tensor) -> Tensor:
    """The unbiased squared MMD of the flattened samples, with the reference's own term given."""
    x = samples.permute(0, 2, 3, 1).flatten(1)
    return unbiased(gram(x, x)) - 2 * gram(x, reference).mean() + constant


def unbiased(square: Tensor) -> Tensor:
    n = len(square)
    return (square.sum() - square.diagonal().sum()) / (n * (n - 1))


def gradient(network, family: str, free, chain, x, draw, reference, constant):
    """KID, and its gradient in the free parameters."""
    table = FAMILIES[family][1](free, *chain[1:])
    loss = kid(sample(network, table, chain, x, draw), reference, constant)
    slopes = torch.autograd.grad(loss, list(free.values()))
    return loss.detach(), dict(zip(free, slopes, strict=True))


class Search:
    """A search's state, with Adam; `advance` does one step on fresh noise."""

    def __init__(self, network, family: str, steps: int, shape: tuple[int, ...], reference: Tensor):
        device = reference.device
        self.network, self.family, self.shape, self.reference = network, family, shape, reference
        self.chain = tuple(part.to(device) for part in levels(steps))
        begin = FAMILIES[family][0](steps)
        self.free = {k: v.detach().to(device).requires_grad_() for k, v in begin.items()}
        self.optimiser = torch.optim.Adam(self.free.values(), 1e-3)
        self.constant = unbiased(gram(reference, reference))

    def draw(self, n: int) -> Tensor:
        noise = torch.randn(self.shape, device=self.reference.device)
        return noise.to(memory_format=torch.channels_last)

    def gradient(self, x: Tensor, draw: Callable[[int], Tensor]):
        return gradient(
            self.network, self.family, self.free, self.chain, x, draw, self.reference, self.constant
        )

    def advance(self) -> float:
        loss, slopes = self.gradient(self.draw(-1), self.draw)
        for name, slope in slopes.items():
            self.free[name].grad = slope
        self.optimiser.step()
        return float(loss)
