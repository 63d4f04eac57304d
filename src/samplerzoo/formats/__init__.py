"""Pre-trained models from files that others made."""

from .diffusers import (
    Condition as Condition,
    Summary as Summary,
    inspect_config as inspect_config,
    load_diffusers as load_diffusers,
)
from .openai import load_openai as load_openai
from .openai_flags import PRESETS as PRESETS
from .reading import read_weights as read_weights
from .saving import save_diffusers as save_diffusers
