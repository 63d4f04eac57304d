"""A searched few-step sampler as a function of k-diffusion and ComfyUI.

The sampler is a table of numbers, SAMPLER below or what a JSON file of the same fields holds. Row n
takes the network's answer at the state `x_n`, read as an estimate `(x0, eps)`, and contributes to
the next states:

    x_{n+1+d} += clean[n][d] * x0 + noise[n][d] * eps
    x_{n+1}   += fresh[n] * z,    z ~ N(0, I)

This file needs torch alone. It was written by samplerzoo.
"""

import torch

SAMPLER = None  # the table


def sample_searched(
    model,
    x,
    sigmas,
    extra_args=None,
    callback=None,
    disable=None,
    noise_sampler=None,
    sampler=None,
):
    """Make samples with a searched sampler.

    Args:
        model: The denoiser of k-diffusion or ComfyUI: `model(x, sigma, **extra_args)` gives x0.
        x: The first state, `sigmas[0]` times noise, (N, ...).
        sigmas: The K + 1 noise levels of `get_sigmas`, which this sampler was searched for.
        extra_args: What else the denoiser takes, such as conditions.
        callback: Called after each step with a dict of x, i, sigma, sigma_hat and denoised.
        disable: Not used; progress is shown by the callback.
        noise_sampler: Gives fresh noise, `noise_sampler(sigma, sigma_next)`; by default normal
            noise, of the seed in `extra_args` where there is one.
        sampler: The table; by default that of this file.

    Returns:
        The samples, of the shape of x.
    """
    table = _whole(SAMPLER if sampler is None else sampler)
    steps = len(table["sigmas"])
    _check_sigmas(table, sigmas)
    extra_args = extra_args or {}
    noise_sampler = noise_sampler or _default_noise(x, extra_args.get("seed"))
    dtype = torch.promote_types(x.dtype, torch.float32)
    scales = _scales(table)
    state = table["first_scale"] * scales[0] * x.to(dtype)
    sums = []
    for n in range(steps):
        alpha, sigma = table["alphas"][n], table["sigmas"][n]
        told = sigmas[n].to(x.device)
        denoised = model((state / scales[n]).to(x.dtype), told * x.new_ones(len(x)), **extra_args)
        x0 = denoised.to(dtype)
        if table["clip_range"] is not None:
            x0 = x0.clamp(*table["clip_range"])
        eps = (state - alpha * x0) / sigma
        reach = min(len(table["clean"][n]), steps - n)
        sums += [torch.zeros_like(state) for _ in range(reach - len(sums))]
        for d in range(reach):
            sums[d] = sums[d] + table["clean"][n][d] * x0 + table["noise"][n][d] * eps
        if callback is not None:
            shown = (state / scales[n]).to(x.dtype)
            callback(
                {"x": shown, "i": n, "sigma": told, "sigma_hat": told, "denoised": x0.to(x.dtype)}
            )
        state = sums.pop(0)
        if table["fresh"][n]:
            state = state + table["fresh"][n] * noise_sampler(sigmas[n], sigmas[n + 1]).to(dtype)
    return state.to(x.dtype)


def get_sigmas(device="cpu", sampler=None):
    """Give the K + 1 noise levels that a searched sampler must be given, the last 0."""
    table = _whole(SAMPLER if sampler is None else sampler)
    scaled = [s / c for s, c in zip(table["sigmas"], _scales(table), strict=True)]
    return torch.tensor([*scaled, 0.0], dtype=torch.float32, device=device)


def _scales(table):
    """What a state of k-diffusion is multiplied by: VP models live in `x / alpha` there."""
    return [1.0] * len(table["alphas"]) if table["space"] == "flow" else table["alphas"]


def _whole(table):
    """Return a table whose columns are of one length and of finite numbers; refuse any other."""
    try:
        columns = torch.tensor([table[name] for name in ("alphas", "sigmas", "fresh")])
        weights = torch.tensor([table[name] for name in ("clean", "noise")])
        numbers = [*columns.flatten(), *weights.flatten(), torch.tensor(table["first_scale"])]
        right = weights.shape[:2] == (2, columns.shape[1]) and weights.ndim == 3
        right = right and bool(torch.stack(numbers).isfinite().all() and (columns[1] > 0).all())
        right = right and (table["space"] == "flow" or bool((columns[0] > 0).all()))
        right = right and (table["clip_range"] is None or len(table["clip_range"]) == 2)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError, OverflowError):
        right = False
    if not right:
        raise ValueError("The sampler's table is damaged; export the sampler again.")
    return table


def _check_sigmas(table, sigmas):
    """Refuse noise levels that are not those the sampler was searched for."""
    steps = len(table["sigmas"])
    if len(sigmas) != steps + 1:
        raise ValueError(
            f"{len(sigmas)} sigmas were given, but this sampler was searched for {steps} steps; "
            "give those of get_sigmas (in ComfyUI, the SIGMAS of the same node)."
        )
    right = get_sigmas(sigmas.device, table)
    if not torch.allclose(sigmas.to(right.dtype), right, rtol=1e-3, atol=1e-5):
        raise ValueError(
            "The sigmas are not those that this sampler was searched for; give those of "
            "get_sigmas (in ComfyUI, the SIGMAS of the same node, with nothing between)."
        )


def _default_noise(x, seed):
    """Give a function that draws normal noise like `x`, from a seed where there is one."""
    if seed is None:
        return lambda sigma, sigma_next: torch.randn_like(x)
    device = x.device if x.device.type == "cuda" else "cpu"
    generator = torch.Generator(device=device).manual_seed(int(seed) + 1)
    options = {"generator": generator, "device": device, "dtype": torch.float32}
    return lambda sigma, sigma_next: torch.randn(x.shape, **options).to(x.device)
