"""The model card of a pushed sampler."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..hub import PREFIX
from ..runs.names import repository, split
from ..runs.rows import ABSENT, read_row
from ..runs.spec import Config
from ..tables import Table
from .exports import use_in

_LICENCE = ("license", "license_name", "license_link")

_TEXT = """{front}
# {name}

A sampler that draws from {model} with {nfe} network evaluations a sample, for a diffusion model \
whose weights stay as they are. It was searched by gradient descent on KID through the whole \
sampling chain (DDSS, [Watson et al., ICLR 2022](https://arxiv.org/abs/2202.05830)) with samplerzoo.

| | |
|---|---|
{facts}

![Samples of this sampler, of the baselines from the same noise, and data](samples.png)

## Scores

{scores}

FD and KID, smaller is better. n = {n} samples a row, seed {seed}. *Searched* marks the features \
that the search minimised KID in; a gain in these alone is over-fitting. Compare only within the \
table: scores depend on n and on the data.

## Use

```sh
samplerzoo sample {prefix}{name} --n 64 --out samples.png
```

`sampler.safetensors` holds the sampler as a table of numbers; samplerzoo runs no code from here.

```python
from pathlib import Path

from huggingface_hub import hf_hub_download
from samplerzoo import load_sampler

path = hf_hub_download("{name}", "sampler.safetensors")
table, about = load_sampler(Path(path))  # times, clean, noise, fresh
```
{exports}"""


def card_text(
    name: str,
    config: Config,
    result: dict[str, Any],
    base: dict[str, Any],
    exports: Mapping[str, int],
) -> str:
    """README.md of the repository `name`: a finished run's method, data, scores and use.

    `config` is as it is published; `base` is the metadata of the base model's own card, whose
    licence holds here too; `exports` gives the steps of the sampler by the tool it is there for.
    """
    from huggingface_hub import ModelCardData

    tags = ["samplerzoo", "diffusion", "sampler", "jax", config.family]
    licence = {key: base[key] for key in _LICENCE if key in base}
    base_model = repository(config.model)
    data = ModelCardData(
        library_name="samplerzoo",
        base_model=base_model and base_model.repository,
        pipeline_tag="unconditional-image-generation",
        tags=tags,
        **licence,
    )
    rows = result["rows"]
    return _TEXT.format(
        front=f"---\n{data.to_yaml().strip()}\n---",
        name=name,
        prefix=PREFIX,
        model=_link(config.model),
        nfe=result["nfe"],
        facts="\n".join(f"| {key} | {value} |" for key, value in _facts(config, result)),
        scores=_table(rows, split(result["search_features"])),
        n=", ".join(sorted({str(row["n"]) for row in rows})),
        seed=", ".join(sorted({str(row["seed"]) for row in rows})),
        exports="".join(use_in(tool, name, steps) for tool, steps in exports.items()),
    )


def _link(model: str) -> str:
    """A model's name, as a link where it is on the Hub."""
    if (found := repository(model)) is None:
        return f"`{model}`"
    from huggingface_hub import constants

    name, revision = found
    return f"[{name}]({constants.ENDPOINT}/{name}/tree/{revision})"


def _facts(config: Config, result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Family", f"`{config.family}`" + _options(config.family_options)
    yield "Steps (K)", str(config.steps)
    yield "Network evaluations a sample", str(result["nfe"])
    yield "Times", config.times
    if started := result.get("start"):
        yield "Searched from", f"`{started}`"
    if best := result.get("unsearched"):
        yield "Best unsearched solver and grid", f"`{best}`"
    yield "Base model", _link(config.model)
    yield "Data", f"`{config.data}`, SHA-256 {config.hashes.get('data', 'unknown')[:16]}..."
    yield (
        "Searched in",
        f"`{config.features}`, kernel `{config.kernel}`" + _options(config.kernel_options),
    )
    yield "Objective", f"`{config.objective}`"
    yield "Search", f"{config.iterations} iterations of {config.batch} samples, seed {config.seed}"
    yield "Versions", ", ".join(f"{k} {v}" for k, v in config.versions.items())


def _options(options: dict[str, Any]) -> str:
    return "".join(f", {key} = {value}" for key, value in options.items())


def _table(rows: list[dict[str, Any]], searched: Sequence[str]) -> str:
    """Scores as a Markdown table: a line for each sampler and feature space."""
    found = [read_row(row, "The result") for row in rows]
    metrics = list(dict.fromkeys(metric for row in found for metric in row.scores))
    lines = []
    for row in found:
        space = f"{row.features} (searched)" if row.features in searched else row.features
        scores = [f"{row.scores[m]:.4f}" if m in row.scores else ABSENT for m in metrics]
        lines.append([row.sampler, str(row.nfe), space, *scores])
    heads = ["Sampler", "NFE", "Features", *(metric.upper() for metric in metrics)]
    return Table(heads, lines).markdown()
