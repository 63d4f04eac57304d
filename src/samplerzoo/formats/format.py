"""What a model format is: how the checkpoints that others made are found, described and read.

A format is one `Format`, offered as an entry point of the group `samplerzoo.formats`. The name of
the entry point is how a model's name asks for it, `NAME:PATH`; a folder, a file or a repository
without such a prefix is offered to every format that can tell its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..core.model import DiffusionModel
from ..files import digest


@dataclass(frozen=True)
class Checkpoint:
    """The files that a model is read from, wherever they are.

    Attributes:
        name: What messages call it: a path, or `hf:owner/name@commit`.
        sizes: The bytes of each file, by its name in the folder or repository with `/` between
            folders. A file that was given by itself is the only one.
        path: Gives the path of one of these files on this machine. What is on the Hub is fetched
            by that, so a format asks for weights only when it reads them.
        argument: What stood between the format and the path in the model's name, or "".
    """

    name: str
    sizes: Mapping[str, int]
    path: Callable[[str], Path]
    argument: str = ""


class Parts(NamedTuple):
    """The files of a checkpoint that a format needs, by name.

    `small` are configurations and indices, which may be fetched to describe the model; `weights`
    are fetched once it is known to be supported.
    """

    small: tuple[str, ...]
    weights: tuple[str, ...]


class Summary(NamedTuple):
    """What a model is, as `samplerzoo inspect` shows it.

    Attributes:
        architecture: The name of its network.
        parameters: How many numbers its weights are.
        shape: The shape of one sample, channels last.
        classes: How many labels it takes, None without labels.
        schedule: The name of its noise schedule.
        steps: How many levels of noise it was trained on, None for continuous time.
        prediction: A key of `samplerzoo.core.model.PREDICTIONS`.
        clip: The range of its data, None where x0 is not clipped.
    """

    architecture: str
    parameters: int
    shape: tuple[int, ...]
    classes: int | None
    schedule: str
    steps: int | None
    prediction: str
    clip: tuple[float, float] | None


class Condition(NamedTuple):
    """What a class-conditional model is asked for: a class, and how strongly.

    With guidance `w` the estimate is `null + w * (labelled - null)`, at twice the network
    evaluations; the last label of the network stands for no class.

    Attributes:
        label: The class of all samples.
        guidance: The weight of classifier-free guidance, with a label.
        labels: Whether the model is to have all its labels as `conditions`, one a sample.
    """

    label: int | None = None
    guidance: float | None = None
    labels: bool = False


UNCONDITIONAL = Condition()


@dataclass(frozen=True)
class Format:
    """A model format: pure functions, and what its names look like.

    Attributes:
        layout: What a checkpoint of the format consists of, in words for an error or a list.
        find: Tells which files of a checkpoint it reads, all of which are there; None where the
            checkpoint is of another format. It may read small files, such as config.json. Raises
            ValueError where the checkpoint is of this format, but cannot be read; the sentence
            names what is wrong, not the checkpoint.
        summarise: Describes a checkpoint without reading its weights, where something small
            beside them is enough. Raises ValueError where it is not supported.
        read: Makes the model, with weights in float32. No code of the checkpoint is run. Raises
            ValueError where it is not whole, not supported, or hostile.
        argument: What stands before the path in a name, in capitals, such as "PRESET" in
            `openai:PRESET:PATH`; "" for nothing. A format with an argument is never found by its
            files alone.
        has_path: Whether its names end in a path or `hf:owner/name`. Without, everything behind
            the format's name is the argument, and the checkpoint has no files.
        runs_code: Whether reading runs code that the name points to. Such a name is never
            followed because a file from the Hub says so.
        digest: Gives the hash by which a run knows its model again.
    """

    layout: str
    find: Callable[[Checkpoint], Parts | None]
    summarise: Callable[[Checkpoint], Summary]
    read: Callable[[Checkpoint, Condition], DiffusionModel]
    argument: str = ""
    has_path: bool = True
    runs_code: bool = False
    digest: Callable[[DiffusionModel], str] = digest


def open_local(path: Path, argument: str = "") -> Checkpoint:
    """Open a folder, or a file by itself, as a checkpoint.

    Args:
        path: The folder's path, whose files up to one folder deeper belong to it, or the file's.
        argument: What stood before the path in the model's name.

    Raises:
        ValueError: There is neither a folder nor a file.
    """
    if path.is_file():
        return Checkpoint(str(path), {path.name: path.stat().st_size}, path.with_name, argument)
    if not path.is_dir():
        raise ValueError(f"{path} is neither a folder nor a file; give one, or hf:owner/name.")
    files = [file for depth in ("*", "*/*") for file in path.glob(depth) if file.is_file()]
    sizes = {file.relative_to(path).as_posix(): file.stat().st_size for file in sorted(files)}
    return Checkpoint(str(path), sizes, lambda name: path / name, argument)


def open_nothing(argument: str) -> Checkpoint:
    """Make the checkpoint of a name without a path: it has no files."""

    def path(name: str) -> Path:
        raise ValueError(f"The model {argument!r} has no file {name!r}.")

    return Checkpoint(argument, {}, path, argument)


def recognise(formats: Mapping[str, Format], checkpoint: Checkpoint) -> str:
    """Find the one format that a checkpoint is of.

    Args:
        formats: The formats to ask, by name; one that needs an argument is not asked.
        checkpoint: The files.

    Returns:
        The format's name.

    Raises:
        ValueError: None recognises the files, several do, or the one that does cannot read
            them.
    """
    asked = {name: form for name, form in formats.items() if form.has_path and not form.argument}
    found, refusals = [], []
    for name, form in asked.items():
        try:
            found += [name] if form.find(checkpoint) else []
        except ValueError as error:
            refusals.append(error)
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"It may be of the formats {' or '.join(found)}; say which, as {found[0]}:PATH."
        )
    if refusals:
        raise refusals[0]
    layouts = "; ".join(f"{name}: {form.layout}" for name, form in asked.items())
    raise ValueError(f"It is not a model of a format that is known here ({layouts}).")


def find_parts(form: Format, checkpoint: Checkpoint) -> Parts:
    """Find the files that a format reads.

    Raises:
        ValueError: The checkpoint is not of the format.
    """
    if (parts := form.find(checkpoint)) is None:
        raise ValueError(f"It is not {form.layout}.")
    return parts


def load_checkpoint(
    form: Format, checkpoint: Checkpoint, condition: Condition = UNCONDITIONAL
) -> DiffusionModel:
    """Make the model of a checkpoint, after it is known to be supported.

    Args:
        form: The checkpoint's format.
        checkpoint: The files; weights are asked for last.
        condition: What a class-conditional model is asked for.

    Raises:
        ValueError: It names the checkpoint, which is not of the format, not supported, not
            whole, or does not take the condition.
    """
    try:
        find_parts(form, checkpoint)
        check_condition(form.summarise(checkpoint).classes, condition)
    except ValueError as error:
        raise ValueError(f"{checkpoint.name} is not supported. {error}") from error
    return form.read(checkpoint, condition)


def check_condition(classes: int | None, condition: Condition) -> None:
    """Check that a model takes what it is asked for.

    Args:
        classes: How many labels it takes, None without labels.
        condition: What it is asked for.

    Raises:
        ValueError: A label is missing, is not asked for, or is none of the classes.
    """
    label, guidance, labels = condition
    if classes is None:
        if labels:
            raise ValueError("Labels are given, and this model has no classes.")
        if condition != UNCONDITIONAL:
            raise ValueError(
                f"The label is {label}, the guidance {guidance}; this model has no classes."
            )
        return
    if labels:
        return
    most = classes - 1 if guidance is None else classes - 2  # the last one stands for no class
    if label is None or not 0 <= label <= most:
        raise ValueError(
            f"The label is {label}; this class-conditional model needs one from 0 to {most}."
        )
