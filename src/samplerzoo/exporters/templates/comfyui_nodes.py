"""ComfyUI nodes for searched samplers: every .json file in samplers/ is offered by name."""

import json
from pathlib import Path

import comfy.samplers

from .samplerzoo_k_diffusion import get_sigmas, sample_searched

FOLDER = Path(__file__).parent / "samplers"
NODE = "SamplerzooSampler"
TITLE = "Searched sampler (samplerzoo)"
CATEGORY = "sampling/samplerzoo"


def names():
    """List the samplers in the folder."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name):
    """Make the SAMPLER and the SIGMAS of a sampler by name."""
    if name not in names():
        raise ValueError(f"There is no sampler {name!r} in {FOLDER}; there are {names()}.")
    path = FOLDER / f"{name}.json"
    try:
        table = json.loads(path.read_text())
        sigmas = get_sigmas(sampler=table)
    except ValueError as error:
        raise ValueError(f"{path} is damaged; export the sampler again.") from error
    return comfy.samplers.KSAMPLER(sample_searched, {"sampler": table}), sigmas


try:
    from comfy_api.latest import ComfyExtension, io
except ImportError:  # a ComfyUI from before the V3 schema

    class SearchedSampler:
        """Offer the samplers by the first schema."""

        CATEGORY = CATEGORY
        RETURN_TYPES = ("SAMPLER", "SIGMAS")
        FUNCTION = "make"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"sampler": (names(),)}}

        def make(self, sampler):
            return load(sampler)

    NODE_CLASS_MAPPINGS = {NODE: SearchedSampler}
    NODE_DISPLAY_NAME_MAPPINGS = {NODE: TITLE}
else:

    class SearchedSampler(io.ComfyNode):
        """Offer the samplers by the V3 schema."""

        @classmethod
        def define_schema(cls):
            return io.Schema(
                node_id=NODE,
                display_name=TITLE,
                category=CATEGORY,
                inputs=[io.Combo.Input("sampler", options=names())],
                outputs=[io.Sampler.Output(), io.Sigmas.Output()],
            )

        @classmethod
        def execute(cls, sampler):
            return io.NodeOutput(*load(sampler))

    class SamplerzooExtension(ComfyExtension):
        """Tell ComfyUI of the node."""

        async def get_node_list(self):
            return [SearchedSampler]

    async def comfy_entrypoint():
        """Give ComfyUI this extension."""
        return SamplerzooExtension()
