"""Export to k-diffusion: a sampling function in one file."""

import pprint
from pathlib import Path
from typing import Any

from .files import template, write_texts
from .sampler import PlainSampler, refuse_guidance

MODULE = "samplerzoo_k_diffusion"
_EMPTY = "SAMPLER = None  # the table"


def export_k_diffusion(sampler: PlainSampler, folder: Path) -> list[Path]:
    """Write a function as k-diffusion's samplers are, with the sampler's numbers in it.

    Args:
        sampler: The sampler.
        folder: Where to write; made where it is not there.

    Returns:
        The files: `samplerzoo_k_diffusion.py` and a README.
    """
    numbers = pprint.pformat(sampling_table(sampler), width=88, sort_dicts=False)
    return write_texts(
        folder,
        {
            f"{MODULE}.py": template(f"{MODULE}.py").replace(_EMPTY, f"SAMPLER = {numbers}"),
            "README.md": template("k_diffusion.md").format(
                name=sampler.name, steps=sampler.steps, module=MODULE
            ),
        },
    )


def sampling_table(sampler: PlainSampler) -> dict[str, Any]:
    """Give what the sampling function needs of a sampler."""
    refuse_guidance(sampler, "k-diffusion or ComfyUI")
    if sampler.space == "vp" and not all(sampler.alphas):
        raise ValueError(
            "This sampler starts from noise alone, an infinite level for k-diffusion and ComfyUI; "
            "export it to diffusers."
        )
    return {
        "name": sampler.name,
        "space": sampler.space,
        "alphas": sampler.alphas,
        "sigmas": sampler.sigmas,
        "clean": sampler.clean,
        "noise": sampler.noise,
        "fresh": sampler.fresh,
        "first_scale": sampler.init_sigma / sampler.sigmas[0],
        "clip_range": None if sampler.clip is None else list(sampler.clip),
    }
