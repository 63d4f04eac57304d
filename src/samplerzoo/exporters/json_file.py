"""Export to JSON: all numbers of a sampler, and what tools that take only a list would lose."""

from pathlib import Path
from typing import Any

from .files import to_json, write_texts
from .sampler import PlainSampler

_NOTES = [
    "A level of noise alone is infinite in sigmas_ve, and null there.",
    "A list of times is not the sampler: a tool that takes only a list runs its own coefficients.",
    "diffusers' DPMSolverMultistep and -Singlestep truncate `timesteps` to whole numbers.",
    "diffusers' UniPCMultistep takes `sigmas` only with use_flow_sigmas=True, and flow's at that.",
    "diffusers' FlowMatchEulerDiscrete shifts the sigmas that it is given: undo it with "
    "s / (shift - (shift - 1) s).",
    "diffusers' DDIM, DEIS, iPNDM and PNDM take no list.",
]


def export_json(sampler: PlainSampler, folder: Path) -> list[Path]:
    """Write all numbers of a sampler as one JSON file.

    Args:
        sampler: The sampler.
        folder: Where to write; made where it is not there.

    Returns:
        The file, `NAME.json`.
    """
    return write_texts(folder, {f"{sampler.name}.json": json_text(sampler)})


def json_text(sampler: PlainSampler) -> str:
    """Write all numbers of a sampler as JSON."""
    alphas, sigmas = sampler.alphas, sampler.sigmas
    levels = list(zip(alphas, sigmas, strict=True))
    content = {
        "name": sampler.name,
        "nfe": sampler.nfe,
        "depth": sampler.depth,
        "timesteps": sampler.timesteps,
        "times": sampler.times,
        "alphas": alphas,
        "sigmas": sigmas,
        "sigmas_ve": [sigma / alpha if alpha else None for alpha, sigma in levels] + [0.0],
        "sigmas_flow": [sigma / (alpha + sigma) for alpha, sigma in levels] + [0.0],
        "clean": sampler.clean,
        "noise": sampler.noise,
        "fresh": sampler.fresh,
        "init_sigma": sampler.init_sigma,
        "prediction": sampler.prediction,
        "clip_range": sampler.clip,
        "space": sampler.space,
        "keeps_marginals": sampler.keeps_marginals,
        "recurrence": "x[n+1+d] += clean[n][d] x0[n] + noise[n][d] eps[n]; x[n+1] += fresh[n] z[n]",
        **_guidance(sampler),
        "notes": _NOTES,
        "about": sampler.about,
    }
    return to_json(content)


def _guidance(sampler: PlainSampler) -> dict[str, Any]:
    """The weights of guidance and what they weigh; nothing without."""
    if sampler.guidance is None:
        return {}
    told = "the network's answer at step n is null + guidance[n] (conditioned - null)"
    return {"guidance": sampler.guidance, "guided": told}
