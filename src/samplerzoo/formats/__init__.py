"""Pre-trained models from files that others made."""

from .diffusers import (
    UNET2D as UNET2D,
    inspect_config as inspect_config,
    load_diffusers as load_diffusers,
)
from .format import (
    UNCONDITIONAL as UNCONDITIONAL,
    Checkpoint as Checkpoint,
    Condition as Condition,
    Format as Format,
    Parts as Parts,
    Summary as Summary,
    check_condition as check_condition,
    find_parts as find_parts,
    load_checkpoint as load_checkpoint,
    open_local as open_local,
    open_nothing as open_nothing,
    recognise as recognise,
)
from .openai import OPENAI as OPENAI, load_openai as load_openai
from .openai_flags import PRESETS as PRESETS
from .reading import read_weights as read_weights
from .saving import save_diffusers as save_diffusers
