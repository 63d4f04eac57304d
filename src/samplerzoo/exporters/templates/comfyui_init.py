"""Searched samplers for ComfyUI, written by samplerzoo."""

from . import nodes

# ComfyUI asks for one or the other, by the age of its schema.
for name in ("comfy_entrypoint", "NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"):
    if hasattr(nodes, name):
        globals()[name] = getattr(nodes, name)
