"""Our search step and PyTorch's on the same network; as a command, the memory of one of them.

`python benchmarks/peers/sides.py ours|torch NETWORK FAMILY K` prints the megabytes by which a
process that has its network, and has compiled its step, grows while it does two steps.
"""

import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from workloads import unet

# Of each network: its config, and the batch that it is compared at.
NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "narrow": (unet(32, [32, 64], [], 1, downsample_padding=0), 64),
    "wide": (unet(32, [128, 128], [1], 1, downsample_padding=0), 8),
    "ddpm-cifar10-32": (unet(32, [128, 256, 256, 256], [1], downsample_padding=0), 8),
}
REFERENCE = 64


def reference(config: dict) -> np.ndarray:
    """Stand-in features of data, (64, H * W * C)."""
    size = config["sample_size"] ** 2 * config["in_channels"]
    return np.random.default_rng(0).normal(size=(REFERENCE, size)).astype(np.float32)


def our_model(config: dict, weights: dict | None = None):
    """Our model with the peer's weights (those of `state_dict`), or with random ones."""
    import jax

    from samplerzoo.backbones import UNet
    from samplerzoo.formats.weights import fill
    from workloads import model_of

    network = UNet.from_config(config, key=jax.random.key(0))
    if weights is not None:
        network = fill(network, {k: v.cpu().contiguous().numpy() for k, v in weights.items()})
    return model_of(config, network)


def our_search(model, family: str, steps: int, batch: int, found: np.ndarray, optimiser):
    """Our search's first state and its compiled step."""
    from samplerzoo import GDDIM, KID, RDDIM, Polynomial, free_parameters
    from samplerzoo.core.optimise import compile_step, start
    from samplerzoo.features import Pixels

    member = {"rddim": RDDIM, "gddim": GDDIM}[family](steps)
    state = start(member, free_parameters(member), optimiser)
    objective = KID(Pixels(), Polynomial(), found)
    return state, compile_step(member, state, model, objective, optimiser, batch)


def torch_search(network, config: dict, family: str, steps: int, batch: int, device: str):
    """The peer's search on a network of its own."""
    import torch

    from peers.torch_ddss import Search

    size = config["sample_size"]
    shape = (batch, config["in_channels"], size, size)
    return Search(network, family, steps, shape, torch.tensor(reference(config), device=device))


def main(side: str, name: str, family: str, steps: int) -> float | None:
    """Megabytes by which the process grows at most in two steps."""
    from measure import cores, peak_rss

    config, batch = NETWORKS[name]
    if side == "torch":
        import torch

        from peers.torch_ddss import make_network

        torch.set_num_threads(cores())
        search = torch_search(make_network(config), config, family, steps, batch, "cpu")
        return peak_rss(lambda: [search.advance() for _ in range(2)])
    import jax
    import optax

    model, key = our_model(config), jax.random.key(0)
    state, step = our_search(model, family, steps, batch, reference(config), optax.sgd(1.0))
    return peak_rss(lambda: [jax.block_until_ready(step.advance(state, key)) for _ in range(2)])


if __name__ == "__main__":
    from peers import sides

    print(json.dumps(sides.main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))))
