"""Features of data, computed ahead."""

from pathlib import Path
from typing import Any

from .names import split as split_names
from .parts import crops, kept, load_data, load_features, load_model


def keep_references(
    data: str | Path,
    features: str,
    model: str | tuple[int, ...],
    *,
    split: str | None = None,
    crop: bool = False,
    held_out: str | Path | None = None,
    held_out_split: str | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Compute the features of data, which searches and evaluations then find in the cache.

    Args:
        data: The data's name or path.
        features: The names of feature extractors, separated by commas.
        model: The model whose samples are to be compared with the data; or their shape alone, with
            the range [-1, 1].
        split: Part of the data.
        crop: Whether images are cropped to their centre square and resized.
        held_out: Data that the model was not trained on, too.
        held_out_split: Part of these.
        progress: Whether bars are shown on stderr.

    Returns:
        For each data set and extractor `features`, `n`, `d`, `path`, `data` and `extractor`.

    Raises:
        ValueError: A name is unknown, or there are no images to compute features from.
    """
    if isinstance(model, str):
        loaded = load_model(model)
        shape, clip = loaded.shape, loaded.clip
    else:
        shape, clip = model, (-1.0, 1.0)
    sets = [load_data(data, shape, clip, split, crop)]
    if held_out is not None:
        sets.append(load_data(held_out, shape, clip, held_out_split, crops(held_out, crop)))
    names = split_names(features)
    found = {name: load_features(name, shape, rounding=True) for name in names}
    return [row for images in sets for row in kept(images, found, progress)]
