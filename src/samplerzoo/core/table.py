"""A sampler is a table of numbers: one row per network evaluation."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .types import Scalar, Steps


class StepTable(eqx.Module):
    """Hold a sampler as numbers: one row for each of its K network evaluations.

    Row n evaluates the network at state `x_n` and time `times[n]`, giving `(x0_n, eps_n)`, and
    contributes to the next `depth` states, with fresh noise `z_n ~ N(0, I)`:

        x_{n+1+d} += clean[n, d] * x0_n + noise[n, d] * eps_n      0 <= d < depth
        x_{n+1}   += fresh[n] * z_n

    `x_0 ~ N(0, spread^2 I)` and `x_K` is the sample. What reaches past `x_K` is ignored.

    With guidance, the network's answer at row n is `null + guidance[n] * (conditioned - null)`,
    which costs two evaluations in one batched call, and one where the weight is exactly 1.

    Args:
        times: The times told to the network, (K,), in the schedule's units. They fall, but for
            solvers that look at some times again, such as Heun's.
        clean: The weights of the estimates of x0, (K, depth).
        noise: The weights of the estimates of eps, (K, depth).
        fresh: The standard deviations of the fresh noise, (K,).
        spread: The standard deviation of the first state; None is the schedule's `sigma(t_max)`.
            It is another for a sampler whose first step needs no network.
        guidance: The weights of classifier-free guidance, (K,); None of a sampler without.

    Raises:
        ValueError: The shapes do not fit together, or the depth is not in 1..K.
    """

    times: Steps
    clean: Float[Array, "K depth"]
    noise: Float[Array, "K depth"]
    fresh: Steps
    spread: Scalar | None = None
    guidance: Steps | None = None

    def __check_init__(self):
        shapes = [jnp.shape(a) for a in (self.times, self.clean, self.noise, self.fresh)]
        steps, wide = shapes[0], shapes[1]
        if len(steps) != 1 or len(wide) != 2 or shapes != [steps, wide, wide, steps]:
            raise ValueError(
                "A table needs times (K,), clean (K, depth), noise (K, depth) and fresh (K,); "
                f"these have shapes {', '.join(map(str, shapes))}."
            )
        if wide[0] != steps[0] or not 1 <= wide[1] <= steps[0]:
            raise ValueError(
                f"A table of {steps[0]} rows and a depth between 1 and {steps[0]} is needed; "
                f"clean has shape {wide}."
            )
        if self.guidance is not None and jnp.shape(self.guidance) != steps:
            raise ValueError(
                f"A table of {steps[0]} rows needs guidance of shape {steps}; it has shape "
                f"{jnp.shape(self.guidance)}."
            )

    @property
    def steps(self) -> int:
        """Return the number of rows, K."""
        return self.times.shape[0]

    @property
    def nfe(self) -> int:
        """Return the number of network evaluations: one a row, two where it is guided."""
        if self.guidance is None:
            return self.steps
        return self.steps + int(np.sum(np.asarray(self.guidance) != 1))

    @property
    def depth(self) -> int:
        """Return how many following states a row contributes to."""
        return self.clean.shape[1]

    def to_depth(self, depth: int) -> "StepTable":
        """Pad the rows by zeros to a greater depth; the sampler stays the same.

        Args:
            depth: The new depth, from the present one to K.

        Returns:
            The table with `clean` and `noise` of shape (K, depth).

        Raises:
            ValueError: The depth is greater than K.
        """
        pad = ((0, 0), (0, depth - self.depth))
        clean, noise = jnp.pad(self.clean, pad), jnp.pad(self.noise, pad)
        return dataclasses.replace(self, clean=clean, noise=noise)
