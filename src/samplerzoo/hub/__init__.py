"""Models and samplers on the Hugging Face Hub.

`huggingface_hub` is imported where it is first needed: it is slow, and reads its environment
(HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE, HF_TOKEN) then.
"""

from .addresses import PREFIX as PREFIX, Address as Address, parse as parse
