"""Ours against PyTorch on the same network with the same weights and the same number of threads.

Times are the medians of calls in turns; before that both sides' results are compared.
"""

import functools
import json
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from measure import bare, cores, in_turns
from peers import sides
from samplerzoo import DDIM, sample_batch
from samplerzoo.core.engine import draw
from workloads import parameters

torch = pytest.importorskip("torch", reason="needs the oracle extra (torch, diffusers)")
pytest.importorskip("diffusers", reason="needs the oracle extra (torch, diffusers)")
STEPS, ROUNDS = 5, 10


@functools.lru_cache(maxsize=1)
def both(name: str, device: str):
    """The peer's network, in both layouts, and our model with its weights."""
    from peers.torch_ddss import make_network

    torch.set_num_threads(cores())
    config, batch = sides.NETWORKS[name]
    networks = [make_network(config, device, last) for last in (True, False)]
    return networks, sides.our_model(config, networks[0].state_dict()), config, batch


def to_torch(images, device):
    """Channels-last images (..., H, W, C) as PyTorch's (..., C, H, W) with strides unchanged."""
    return torch.tensor(np.asarray(images), device=device).movedim(-1, -3)


def synchronised(run, device):
    def wait():
        out = run()
        if device == "cuda":
            torch.cuda.synchronize()
        return out

    return wait


def relative(found, wanted) -> float:
    found, wanted = np.asarray(found), np.asarray(wanted)
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def assert_same_gradient(search, before, step, model, batch):
    """Both sides' loss and gradient on our noise; our optimiser is `sgd(1)`."""
    key = jax.random.key(0)
    after, kid = step.advance(before, key)
    own = jax.vmap(lambda n: jax.random.fold_in(jax.random.fold_in(key, 0), n))(jnp.arange(batch))
    noise = jax.vmap(lambda n: jax.vmap(lambda k: draw(k, n, model.shape))(own))
    first, *fresh = to_torch(noise(jnp.arange(STEPS + 1)), search.reference.device)
    spread = float(model.schedule.sigma(jnp.asarray(model.schedule.t_max)))
    loss, slopes = search.gradient(spread * first, lambda n: fresh[n])
    tolerance = 1e-3 if search.reference.device.type == "cpu" else 1e-2  # GPUs round in TF32
    assert relative(kid, loss.cpu()) < tolerance
    for name, slope in slopes.items():
        # The parameters start at 0, so that with a learning rate of 1 they become -gradient.
        found = -getattr(after.parameters, name)
        assert relative(found, slope.cpu()) < tolerance, name


def grown(side: str, name: str, family: str) -> float | None:
    """Megabytes by which a process of its own grows in two steps."""
    command = [sys.executable, str(Path(sides.__file__)), side, name, family, str(STEPS)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.mark.parametrize("family", ["rddim", "gddim"])
@pytest.mark.parametrize("name", ["narrow", "wide"])
@pytest.mark.benchmark(group="search step against PyTorch")
def test_search_step(benchmark, name, family, on_cpu):
    device = "cpu" if on_cpu else "cuda"
    if not on_cpu and not torch.cuda.is_available():
        pytest.skip("this PyTorch has no GPU")
    (network, _), model, config, batch = both(name, device)
    search = sides.torch_search(network, config, family, STEPS, batch, device)
    state, step = sides.our_search(
        model, family, STEPS, batch, sides.reference(config), optax.sgd(1.0)
    )
    assert_same_gradient(search, state, step, model, batch)
    peers = [search]
    if not on_cpu:
        faster = torch.compile(network)
        peers.append(sides.torch_search(faster, config, family, STEPS, batch, device))
    key = jax.random.key(1)

    def ours():
        return jax.block_until_ready(step.advance(state, key))

    theirs = [synchronised(peer.advance, device) for peer in peers]
    times = in_turns(benchmark, ours, theirs, ROUNDS, np.median)
    memory = {side: grown(side, name, family) for side in ("ours", "torch")} if on_cpu else {}
    benchmark.extra_info.update(
        network=name,
        family=family,
        steps=STEPS,
        batch=batch,
        parameters=parameters(model),
        ours_seconds=times[0],
        torch_seconds=min(times[1:]),
        torch_all_seconds=times[1:],
        speed_ratio=min(times[1:]) / times[0],
        rss_megabytes=memory,
        xla_megabytes=step.memory / 1e6,
        torch=torch.__version__,
    )


@pytest.mark.parametrize("name", ["narrow", "wide", "ddpm-cifar10-32"])
@pytest.mark.benchmark(group="network against PyTorch")
def test_network(benchmark, name, on_cpu):
    """The forward and the forward with the input's gradient, the peer in its better layout."""
    device = "cpu" if on_cpu else "cuda"
    networks, model, _, batch = both(name, device)
    x = jax.random.normal(jax.random.key(0), (batch, *model.shape))
    xs = [to_torch(x, device), to_torch(x, device).contiguous()]

    def forward(network, x):
        with torch.no_grad():
            return network(x, 499).sample

    def pullback(network, x):
        x = x.detach().requires_grad_()
        out = network(x, 499).sample
        return out.detach(), torch.autograd.grad(out, x, out.detach())[0]

    ours = bare(model, batch)
    for theirs, own in zip(pullback(networks[0], xs[0]), ours[1](), strict=True):
        assert relative(own, theirs.movedim(1, -1).cpu()) < 1e-4
    theirs = [
        synchronised(functools.partial(f, *pair), device)
        for f in (forward, pullback)
        for pair in zip(networks, xs, strict=True)
    ]
    pull, fore, *others = in_turns(benchmark, ours[1], [ours[0], *theirs], ROUNDS, np.median)
    best = [min(others[:2]), min(others[2:])]
    benchmark.extra_info.update(
        network=name,
        batch=batch,
        parameters=parameters(model),
        torch=torch.__version__,
        forward_seconds=fore,
        pullback_seconds=pull,
        torch_forward_seconds=best[0],
        torch_pullback_seconds=best[1],
        forward_ratio=best[0] / fore,
        pullback_ratio=best[1] / pull,
    )


@pytest.mark.benchmark(group="sampling against PyTorch")
def test_sampling(benchmark, on_cpu):
    """DDIM with K = 10 against a loop over diffusers' DDIMScheduler."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    device, steps = "cpu" if on_cpu else "cuda", 10
    (network, _), model, _, batch = both("ddpm-cifar10-32", device)
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(steps)

    @torch.no_grad()
    def theirs(x):
        for t in scheduler.timesteps:
            out = network(x, t).sample
            x = scheduler.step(out, int(t), x, use_clipped_model_output=True, return_dict=False)[0]
        return x

    key, numbers = jax.random.key(0), jnp.arange(batch)
    drawn = eqx.filter_jit(
        lambda model: sample_batch(DDIM(steps).table(model.schedule), model, key, numbers)
    )
    own = jax.vmap(lambda n: draw(jax.random.fold_in(key, n), 0, model.shape))(numbers)
    x = to_torch(own, device)

    def ours():
        return jax.block_until_ready(drawn(model))

    assert relative(ours(), theirs(x).movedim(1, -1).cpu()) < 1e-2
    peer = synchronised(lambda: theirs(x), device)
    times = in_turns(benchmark, ours, [peer], ROUNDS, np.median)
    benchmark.extra_info.update(
        network="ddpm-cifar10-32",
        steps=steps,
        batch=batch,
        torch=torch.__version__,
        samples_per_second=batch / times[0],
        torch_samples_per_second=batch / times[1],
        speed_ratio=times[1] / times[0],
    )
