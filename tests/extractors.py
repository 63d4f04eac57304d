"""Random weights of published feature extractors, by the names of their checkpoints."""

import numpy as np

from samplerzoo.features import inception, vit_layouts

DINOV2 = {
    "model_type": "dinov2",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "mlp_ratio": 2,
    "image_size": 56,
    "patch_size": 28,
}
CLIP = {
    "model_type": "clip",
    "projection_dim": 8,
    "text_config": {"hidden_size": 4},
    "vision_config": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "image_size": 32,
        "patch_size": 16,
    },
}


def draw(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that keep activations of the order of 1, and norms that no initialisation gives."""
    rng = np.random.default_rng(seed)

    def one(name: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) > 1:
            return rng.normal(size=shape, scale=np.sqrt(2 / np.prod(shape[1:])))
        if "bias" in name or "mean" in name:
            return rng.normal(size=shape, scale=0.1)
        return rng.uniform(0.8, 1.2, shape)

    return {name: one(name, shape).astype(np.float32) for name, shape in shapes.items()}


def inception_tensors() -> dict[str, np.ndarray]:
    """FID's Inception, with the count that PyTorch keeps beside a batch norm's statistics."""
    tensors = draw(inception.shapes())
    counts = [
        name.replace("running_var", "num_batches_tracked")
        for name in tensors
        if name.endswith("running_var")
    ]
    return tensors | {name: np.zeros((), np.int64) for name in counts}


def vit_tensors(config: dict) -> dict[str, np.ndarray]:
    """A vision transformer's, with one tensor that has no part in the features."""
    layout, sizes = vit_layouts.read_config(config)
    return draw(vit_layouts.shapes(layout, sizes)) | {layout.ignored[0]: np.zeros(3, np.int64)}


def resnet_tensors(depth: int = 1, classes: int = 4) -> dict[str, np.ndarray]:
    """A CIFAR ResNet with `depth` blocks a stage."""
    shapes = {"linear.weight": (classes, 64), "linear.bias": (classes,)}
    convs, before = {"conv1": (16, 3)}, 16
    for stage, width in enumerate((16, 32, 64), 1):
        for number in range(depth):
            name = f"layer{stage}.{number}"
            convs |= {f"{name}.conv1": (width, before), f"{name}.conv2": (width, width)}
            before = width
    for name, (out, channels) in convs.items():
        norm = name.replace("conv", "bn")
        shapes[f"{name}.weight"] = (out, channels, 3, 3)
        shapes |= {
            f"{norm}.{kind}": (out,) for kind in ("weight", "bias", "running_mean", "running_var")
        }
    return draw(shapes)
