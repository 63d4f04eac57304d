"""docs/security.md says what the tests do, and what the limits are."""

import re
from pathlib import Path

import test_begin_or_resume
import test_data_formats
import test_hostile_data
import test_hostile_files
import test_hostile_hub
import test_hostile_images
import test_hostile_plugins
import test_hostile_runs
import test_push_secrets as sent
import test_schema
from samplerzoo import limits

PAGE = (Path(__file__).parent.parent / "docs" / "security.md").read_text()


def count(cases, *kinds: str) -> int:
    return sum(name.partition("-")[0] in kinds for name in cases)


def test_the_totals_are_those_of_the_tests():
    images, data = test_hostile_images, test_hostile_data.CASES
    runs, checkpoints = test_hostile_runs.ALL, test_begin_or_resume
    files, schema, plugins = test_hostile_files, test_schema, test_hostile_plugins
    others = count(images.CASES, "other")
    totals = [
        others,
        len(images.CASES) - others,
        len(images.SEEN_THROUGH) + len(images.DEEP) + len(images.MOVING),
        count(data, "zip", "npz", "npy"),
        count(data, "tar") + len(test_data_formats.HOSTILE),
        count(data, "parquet"),
        count(data, "place", "names"),
        2 * len(files.PICKLES) + len(files.ARCHIVES) + len(files.SAFETENSORS),
        len(schema.HOSTILE) + len(schema.TOML) + len(schema.FRONT) + len(schema.LOGS),
        len(test_hostile_hub.CASES),
        count(runs, "code", "inspected"),
        count(runs, "file"),
        count(runs, "place"),
        count(runs, "numbers") + len(checkpoints.EDITS) + len(checkpoints.STATES),
        count(runs, "config", "result"),
        len(sent.NAMES)
        + len(sent.OPTIONS)
        + len(sent.RESULTS)
        + len(sent.WRITTEN)
        + len(sent.FILES)
        + len(sent.PICTURES)
        + 2,
        len(plugins.HOSTILE) + len(plugins.ALIKE) + len(plugins.BROKEN),
    ]
    assert [int(n) for n in re.findall(r"^\| [^`].*? \| (\d+) \| ", PAGE, re.MULTILINE)] == totals


def test_the_limits_are_those_that_hold():
    known = [value for value in vars(limits).values() if isinstance(value, limits.Limit)]
    said = re.findall(r"^\| `(SAMPLERZOO_\w+)` \| (\d+) \|", PAGE, re.MULTILINE)
    assert dict(said) == {limit.variable: str(limit.default) for limit in known}
