"""Export to diffusers: a scheduler class in one file, with its table in a configuration."""

from pathlib import Path

from .files import template, to_json, write_texts
from .sampler import PlainSampler, refuse_guidance

MODULE = "samplerzoo_scheduler"
CLASS = "SamplerzooScheduler"


def export_diffusers(sampler: PlainSampler, folder: Path) -> list[Path]:
    """Write a scheduler for diffusers' pipelines.

    Args:
        sampler: The sampler.
        folder: Where to write; made where it is not there.

    Returns:
        The files: `samplerzoo_scheduler.py`, its `scheduler_config.json`, a `config.json` by which
        `AutoModel` finds the class, and a README.
    """
    refuse_guidance(sampler, "diffusers")
    return write_texts(
        folder,
        {
            f"{MODULE}.py": template(f"{MODULE}.py"),
            "scheduler_config.json": to_json(scheduler_config(sampler)),
            "config.json": to_json(
                {"_class_name": CLASS, "auto_map": {"AutoModel": f"{MODULE}.{CLASS}"}}
            ),
            "README.md": template("diffusers.md").format(
                name=sampler.name,
                steps=sampler.steps,
                module=MODULE,
                cls=CLASS,
                img2img=_IMG2IMG[sampler.keeps_marginals],
                start=_start(sampler.init_sigma),
            ),
        },
    )


_IMG2IMG = {
    True: "Its states are those of the diffusion process, so image-to-image pipelines may begin in "
    "the middle.",
    False: "Image-to-image pipelines are refused: its states are not those of the diffusion "
    "process, so it cannot begin in the middle.",
}


def _start(sigma: float) -> str:
    """What is to be known of the first state, where its standard deviation is not 1."""
    if abs(sigma - 1) < 1e-3:
        return ""
    return (
        f"\n- Its first state has a standard deviation of {sigma:.4g}. Pipelines that do not scale "
        "their noise\n  by `init_noise_sigma` (`DDPMPipeline`, `DiTPipeline`) start at 1, and "
        "make other images."
    )


def scheduler_config(sampler: PlainSampler) -> dict:
    """Give the content of `scheduler_config.json`."""
    return {
        "_class_name": CLASS,
        "times": sampler.timesteps,
        "alphas": sampler.alphas,
        "sigmas": sampler.sigmas,
        "clean": sampler.clean,
        "noise": sampler.noise,
        "fresh": sampler.fresh,
        "init_sigma": sampler.init_sigma,
        "prediction_type": sampler.prediction,
        "clip_range": None if sampler.clip is None else list(sampler.clip),
        "keeps_marginals": sampler.keeps_marginals,
        "num_train_timesteps": sampler.train_timesteps,
        "steps_offset": 1,
        "clip_sample": False,
    }
