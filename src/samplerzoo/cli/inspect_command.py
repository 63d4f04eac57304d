"""samplerzoo inspect"""

from typing import Any

import click

from .common import as_text, command, debug_option, json_option


@command()
@click.argument("model", metavar="hf:OWNER/NAME|PATH|FORMAT:PATH")
@json_option
@debug_option
def inspect(model: str, as_json: bool):
    """Tell what a model is, and whether it is supported, before its weights are fetched.

    The exit status is 0 where that could be told, whatever the answer.
    """
    from ..runs.parts import describe_model

    found = describe_model(model)
    if as_json:
        return as_text(found)
    return "\n".join(f"{name:<14} {_words(value)}" for name, value in found.items())


def _words(value: Any) -> str:
    """A value as one reads it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
