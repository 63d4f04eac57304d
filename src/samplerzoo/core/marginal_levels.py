"""The process that a table stands for: Theorem 1 of the DDSS paper (Watson et al. 2022)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .schedule import AbstractSchedule
from .table import StepTable


def marginals(table: StepTable, schedule: AbstractSchedule) -> tuple[Array, Array]:
    """Compute the mean factors and the variances of a sampler's states.

    The table is read as the non-Markovian process of Theorem 1 of the DDSS paper: each past state
    enters with the weight `noise / sigma`, the data with what is left of `clean`. Then
    `q(x_n | x0) = N(a_n x0, v_n I)`.

    Args:
        table: The sampler.
        schedule: The levels of the model that it is for.

    Returns:
        `(a, v)`, each of shape (K + 1,); the last entries are the sample's.

    Source:
        Watson et al. 2022 (arXiv 2202.05830), Theorem 1.
    """
    alpha, sigma = jax.vmap(schedule.alpha)(table.times), jax.vmap(schedule.sigma)(table.times)
    steps = table.steps
    past = table.noise / sigma[:, None]
    data = table.clean - past * alpha[:, None]
    a = jnp.zeros(steps + 1).at[0].set(alpha[0])
    weights = jnp.zeros((steps + 1, steps + 1)).at[0, 0].set(sigma[0])  # of the noises in x_n
    for n in range(steps):
        reach = min(table.depth, steps - n)
        rows = slice(n + 1, n + 1 + reach)
        a = a.at[rows].add(data[n, :reach] + past[n, :reach] * a[n])
        weights = weights.at[rows].add(past[n, :reach, None] * weights[None, n])
        weights = weights.at[n + 1, n + 1].add(table.fresh[n])
    return a, jnp.sum(weights**2, axis=1)


def departure(table: StepTable, schedule: AbstractSchedule) -> tuple[Array, Array]:
    """Compute how far a sampler has left the model's marginals.

    Args:
        table: The sampler.
        schedule: The levels of the model that it is for, at the times told to the network.

    Returns:
        `(a - alpha, v - sigma^2)`, each of shape (K + 1,); 0 for DDIM.

    Source:
        Watson et al. 2022 (arXiv 2202.05830), Theorem 1.
    """
    a, v = marginals(table, schedule)
    alpha, sigma = jax.vmap(schedule.alpha)(table.times), jax.vmap(schedule.sigma)(table.times)
    return a - jnp.append(alpha, 1), v - jnp.append(sigma**2, 0)
