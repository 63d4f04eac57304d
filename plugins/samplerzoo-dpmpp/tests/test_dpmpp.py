"""The contract, the method's order, and what its free parameter means."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from samplerzoo_dpmpp import DPMpp

import samplerzoo as sz
from samplerzoo.testing import check_family, gaussian_model


def test_contract():
    check_family(DPMpp)


def error(family, model):
    """The distance from the exact solution of the ODE, for one Gaussian model and one noise."""
    x = model.schedule.sigma(jnp.asarray(model.schedule.t_max)) * jnp.asarray([0.5, -1.0, 1.5])
    found = sz.run_table(family.table(model.schedule), model, x, jax.random.key(0))
    return float(jnp.max(jnp.abs(found - sz.solve_ode(model, x, 1e-4, 1e-9, 1e-9))))


def test_is_more_exact_than_ddim():
    model = gaussian_model(sz.CosineVP())
    assert error(DPMpp(40), model) < 0.2 * error(sz.DDIM(40), model)


def test_without_its_correction_it_is_ddim():
    plain = eqx.tree_at(lambda family: family.strength, DPMpp(6), jnp.zeros(6))
    ddim = sz.DDIM(6).table(sz.CosineVP()).to_depth(2)
    table = plain.table(sz.CosineVP())
    for found, wanted in zip(jax.tree.leaves(table), jax.tree.leaves(ddim), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
