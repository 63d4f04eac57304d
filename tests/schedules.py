"""One schedule of each kind, made where it is used so that it has the test's precision."""

import numpy as np

from samplerzoo import EDM, CosineVP, DiscreteVP, LinearVP, RectifiedFlow

MAKERS = {
    "discrete": lambda: DiscreteVP.from_betas(np.linspace(1e-4, 0.02, 1000)),
    "linear": LinearVP,
    "cosine": CosineVP,
    "edm": EDM,
    "flow": RectifiedFlow,
}
