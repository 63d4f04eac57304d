"""Export to ComfyUI: a pack of nodes, to which further samplers are added."""

from pathlib import Path

from .files import template, to_json, write_texts
from .k_diffusion import MODULE, sampling_table
from .sampler import PlainSampler


def export_comfyui(sampler: PlainSampler, folder: Path) -> list[Path]:
    """Write a folder for ComfyUI's `custom_nodes/`, or add a sampler to one.

    Args:
        sampler: The sampler, which a node offers by its name.
        folder: The pack's folder; made where it is not there.

    Returns:
        The files.
    """
    return write_texts(
        folder,
        {
            "__init__.py": template("comfyui_init.py"),
            "nodes.py": template("comfyui_nodes.py"),
            f"{MODULE}.py": template(f"{MODULE}.py"),
            f"samplers/{sampler.name}.json": to_json(sampling_table(sampler)),
            "pyproject.toml": template("comfyui.toml"),
            "README.md": template("comfyui.md"),
        },
    )
