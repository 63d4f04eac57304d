"""A run's files for other tools, as its repository holds them, and the lines to use them there."""

import re
import shutil
from contextlib import suppress
from pathlib import Path

from ..exporters.exporting import exporter, numbers_of
from ..exporters.sampler import PlainSampler
from ..notices import warn
from ..runs.names import registered
from ..runs.run import load_run
from ..wording import phrase, printable

FOLDER = "export"  # of a repository, with a folder for each tool
_DOWNLOAD = 'hf download {name} --include "{folder}/*" --local-dir searched'

_USES = {
    "diffusers": """
### In diffusers

```python
from diffusers import AutoModel

pipeline.scheduler = AutoModel.from_pretrained(
    "{name}", subfolder="{folder}", trust_remote_code=True
)
images = pipeline(num_inference_steps={steps}).images
```

`pipeline` is one of the base model, loaded as always. The flag lets diffusers run
`{folder}/samplerzoo_scheduler.py`, which needs torch and diffusers alone; without it diffusers
refuses. Read the file first. Any other number of steps is refused.
""",
    "k-diffusion": """
### In k-diffusion

```sh
{download}
```

```python
from samplerzoo_k_diffusion import get_sigmas, sample_searched  # in searched/{folder}

sigmas = get_sigmas(device)
x = torch.randn(shape, device=device) * sigmas[0]
samples = sample_searched(model, x, sigmas)
```
""",
    "comfyui": """
### In ComfyUI

```sh
{download}
cp -r searched/{folder} ComfyUI/custom_nodes/samplerzoo
```

After a restart, the node *Searched sampler (samplerzoo)* gives the SAMPLER and the SIGMAS for
*SamplerCustom*.
""",
    "json": """
### Elsewhere

`{folder}` holds all numbers as JSON, with the recurrence that they are for.
""",
}
_OTHER = """
### In {tool}

The files are in `{folder}`.
"""


def write_exports(run: Path, name: str, folder: Path) -> dict[str, int]:
    """Write a run's files for every tool whose exporter is installed.

    What fails is said, and left out: a sampler is published without it all the same.

    Args:
        run: The run's folder.
        name: The repository, `owner/name`.
        folder: A new folder, which gets a folder for each tool.

    Returns:
        How many steps the sampler is run for, by the tools that there are files for.
    """
    try:
        sampler = numbers_of(load_run(run), name.partition("/")[2][:80])
    except (ValueError, OSError) as error:
        warn(f"Nothing is added for other tools: {phrase(error)}.")
        return {}
    tools = sorted(registered("exporters"), key=lambda tool: (tool not in _USES, tool))
    return {tool: sampler.steps for tool in tools if _written(tool, sampler, folder)}


def _written(tool: str, sampler: PlainSampler, folder: Path) -> bool:
    """Write for one tool, and tell whether that succeeded; of what failed nothing is left."""
    target = folder / tool
    try:
        if not re.fullmatch(r"\w[\w.-]{0,79}", tool):
            raise ValueError("its name cannot be a folder's")
        target.mkdir(parents=True)
        exporter(tool)(sampler, target)
        if not files_below(target):
            raise ValueError("it wrote nothing")
    except (Exception, SystemExit) as error:
        warn(f"Nothing is added for {printable(tool, 80)}: its exporter failed ({phrase(error)}).")
        with suppress(OSError):
            shutil.rmtree(target)
        return False
    return True


def files_below(folder: Path) -> list[Path]:
    """List the files in a folder and in those inside it.

    Raises:
        ValueError: There is something else than files and folders, such as a link.
    """
    found = sorted(folder.rglob("*"))
    for path in found:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{path.relative_to(folder)} is not a plain file")
    return [path for path in found if path.is_file()]


def use_in(tool: str, name: str, steps: int) -> str:
    """Write how a published sampler is used in a tool, as Markdown.

    Args:
        tool: The tool, by its exporter's name.
        name: The repository, `owner/name`.
        steps: How many steps the sampler is run for.

    Returns:
        A section of the repository's card.
    """
    folder = f"{FOLDER}/{tool}"
    download = _DOWNLOAD.format(name=name, folder=folder)
    text = _USES.get(tool, _OTHER)
    return text.format(tool=tool, name=name, steps=steps, folder=folder, download=download)
