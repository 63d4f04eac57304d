"""Where the numbers come from and how to get them again."""

import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

import tomli_w

from ..runs.spec import Config
from .facts import Facts, Search
from .html import Markup, head_row, heading, row, scroll, table, tag
from .verdict import listed

# What a search chooses or records by itself.
_RECORDED = {"allow_code", "microbatch", "checkpoint_every", "directory", "hashes", "versions"}
_OPTIONS = {"family_options": "-F", "kernel_options": "-k"}
_ALWAYS = {"family", "steps", "seed"}

_CAVEATS = (
    "FD is the Fréchet distance between Gaussians fitted to the features, in float64; it is FID "
    "only with the features of Inception. KID is the unbiased squared MMD with the kernel "
    "(x·y/d + 1)³ and can be negative.",
    "Every score depends on n, on the reference images and on the features: compare only within "
    "this page.",
    "A search minimises a distance in the features called searched. A gain in these alone is "
    "over-fitting; the answer above is about features that no search saw, where there are any.",
    "The samples that are scored come from other noise than the search's, whatever the seed.",
    "Intervals are 95% intervals of the mean (Student's t): over searches where a sampler was "
    "searched several times, else over seeds of scoring alone. Intervals that overlap do not show "
    "that two samplers are equal.",
    "Distances do not show whether samples copy training images. Look at the samples too.",
)


def provenance_section(facts: Facts) -> Markup:
    """Commands, hashes, versions and caveats."""
    directories = {run.config.directory for run in facts.runs if "python:" in str(vars(run.config))}
    lines = [
        *(f"cd {shlex.quote(directory)}" for directory in sorted(directories)),
        *dict.fromkeys(line for run in facts.runs for line in _commands(run)),
        shlex.join(["samplerzoo", "sample", facts.runs[0].name, "--n", "64"]),
        facts.command,
    ]
    counts = (
        f"n = {facts.n:,} samples a score; seeds {listed(sorted({r.seed for r in facts.rows}))}."
    )
    if facts.left_out:
        counts += f" {facts.left_out} scores with other n are left out, as they cannot be compared."
    if facts.evaluations:
        counts += f" Scores of the evaluation in {listed(facts.evaluations)} are among them."
    return tag(
        "section",
        heading(2, "Provenance", "provenance"),
        tag("p", counts),
        heading(3, "Again"),
        tag("p", "Each search (one that was interrupted goes on with ",
            tag("code", "samplerzoo resume RUN"), "), samples of the first, and this page:"),
        scroll("Commands", tag("pre", "\n".join(lines))),
        heading(3, "Content and versions"),
        scroll("Hashes", _hashes(facts.runs)),
        *_versions(facts),
        heading(3, "How to read the numbers"),
        tag("ul", *(tag("li", caveat) for caveat in _CAVEATS)),
    )  # fmt: skip


def search_command(config: Config, out: str) -> str:
    """The command that searches the same again."""
    words = ["samplerzoo", "search"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in _RECORDED or value is None:
            continue
        option = "--" + field.name.replace("_", "-")
        if field.name in _OPTIONS:
            for key, item in value.items():
                words += [_OPTIONS[field.name], f"{key}={_toml(item)}"]
        elif value is True:
            words.append(option)
        elif field.name in _ALWAYS or value != field.default:
            words += [option, str(value)]
    return shlex.join([*words, "--out", out])


def _toml(value: Any) -> str:
    return tomli_w.dumps({"x": value}).removeprefix("x = ").strip()


def _commands(run: Search) -> list[str]:
    if run.name.startswith("hf:"):
        return [shlex.join(["samplerzoo", "pull", run.name.removeprefix("hf:"), "--out", "RUN"])]
    return [search_command(run.config, run.name)]


def _hashes(runs: Sequence[Search]) -> Markup:
    found = dict.fromkeys(item for run in runs for item in sorted(run.config.hashes.items()))
    rows = [row(name, tag("code", value)) for name, value in found]
    return table("SHA-256 of the model, of the data and of their features",
                 head_row("what", "SHA-256"), *rows, class_="words")  # fmt: skip


def _versions(facts: Facts) -> list[Markup]:
    """What was used, by whom; most often the same by all."""
    groups: dict[tuple, list[str]] = {(*sorted(facts.versions.items()),): ["this page"]}
    for run in facts.runs:
        groups.setdefault((*sorted(run.config.versions.items()),), []).append(run.name)
    return [
        tag("p", "Every search and this page used " if len(groups) == 1 else
            f"{listed(names)} used ", ", ".join(f"{k} {v}" for k, v in versions), ".")
        for versions, names in groups.items()
    ]  # fmt: skip
