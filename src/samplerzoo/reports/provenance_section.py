"""Where the numbers come from and how to get them again."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any

import tomli_w

from ..runs.spec import Config
from .facts import Facts, Search
from .verdict import listed

# What a search chooses or records by itself.
_CHOSEN = {"start", "warm", "warm_tried", "unsearched", "tried"}
_RECORDED = {
    "allow_code",
    "microbatch",
    "checkpoint_every",
    "directory",
    "hashes",
    "versions",
    *_CHOSEN,
}
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


def provenance(facts: Facts) -> Mapping[str, Any]:
    """Gather commands, hashes, versions and caveats."""
    hashes = [item for search in facts.searches for item in sorted(search.config.hashes.items())]
    return {
        "seeds": listed(sorted({row.seed for row in facts.rows})),
        "evaluations": listed(facts.evaluations) if facts.evaluations else "",
        "commands": "\n".join(_all_commands(facts)),
        "hashes": list(dict.fromkeys(hashes)),
        "versions": _versions(facts),
        "caveats": _CAVEATS,
    }


def _all_commands(facts: Facts) -> list[str]:
    codes = [search.config for search in facts.searches if "python:" in str(vars(search.config))]
    folders = sorted({config.directory for config in codes})
    commands = dict.fromkeys(line for search in facts.searches for line in _commands(search))
    lines = [*(f"cd {shlex.quote(folder)}" for folder in folders), *commands]
    if facts.searches[0].kept:
        lines.append(shlex.join(["samplerzoo", "sample", facts.searches[0].name, "--n", "64"]))
    return [*lines, facts.command] if facts.command else lines


def command_of_search(config: Config, out: str) -> str:
    """Write the command that searches the same again."""
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


def _commands(search: Search) -> list[str]:
    if search.name.startswith("hf:"):
        return [shlex.join(["samplerzoo", "pull", search.name.removeprefix("hf:"), "--out", "RUN"])]
    if any(str(value).startswith("object:") for value in vars(search.config).values()):
        return [f"# {search.name} was searched in Python, with objects that no name leads to"]
    command = command_of_search(search.config, search.name if search.kept else "RUN")
    if not search.config.warm:
        return [command]
    warm = (
        f"# in a sweep, from the result at {search.config.warm} steps; alone, from its own start:"
    )
    return [warm, command]


def _versions(facts: Facts) -> list[tuple[str, str]]:
    """Who used which versions; most often they are the same of all, and nobody is named."""
    groups: dict[tuple, list[str]] = {(*sorted(facts.versions.items()),): ["this page"]}
    for search in facts.searches:
        groups.setdefault((*sorted(search.config.versions.items()),), []).append(search.name)
    return [
        (listed(names) if len(groups) > 1 else "", ", ".join(f"{k} {v}" for k, v in versions))
        for versions, names in groups.items()
    ]
