"""The metrics against torch-fidelity and clean-fid on the same features."""

import numpy as np
import pytest

from fidelity_oracle import ask
from samplerzoo.metrics import (
    frechet_distance,
    inception_score,
    kid_subsets,
    precision_recall,
)

pytestmark = pytest.mark.oracle

CODE = """
import numpy as np
import torch
from cleanfid.fid import frechet_distance
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

x, y, logits = map(torch.from_numpy, (x, y, logits))
few = [fid_features_to_statistics(z[:40]) for z in (x, y)]
answer = {}
for kind, cast in (("64", torch.Tensor.double), ("32", torch.Tensor.float)):
    a, b, c = map(cast, (x, y, logits))
    prc = prc_features_to_metric(a, b, verbose=False)
    subsets = 100 if kind == "64" else 10
    one, two = map(fid_features_to_statistics, (a, b))
    answer |= {
        "fid" + kind: [*fid_statistics_to_metric(one, two, False).values()],
        "clean" + kind: [frechet_distance(one["mu"], one["sigma"], two["mu"], two["sigma"])],
        "kid" + kind: [*kid_features_to_metric(a, b, kid_subsets=subsets, verbose=False).values()],
        "is" + kind: [*isc_features_to_metric(c).values()],
        "prc" + kind: [prc["precision"], prc["recall"]],
    }
answer["few"] = [*fid_statistics_to_metric(*few, False).values()]
"""


def features(seed, n, d):
    """Not normal, correlated and positive, as the features of a network are."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, d)) @ np.random.default_rng(9).normal(size=(d, d)) / d**0.5
    return np.maximum(x + 0.05 * seed, 0) ** 1.5


@pytest.fixture(scope="module")
def sets():
    x, y = features(1, 1500, 48), features(2, 1300, 48)
    return {"x": x, "y": y, "logits": 4 * features(3, 1234, 30)}


@pytest.fixture(scope="module")
def theirs(sets):
    return ask(CODE, **sets)


@pytest.mark.parametrize("kind", ["64", "32"])
def test_as_the_usual_tools(sets, theirs, kind):
    """To 1e-6 of what they compute from float64, to 1e-4 from the float32 that networks give."""
    x, y, logits = (sets[n].astype(f"float{kind}") for n in ("x", "y", "logits"))
    fid = frechet_distance(x, y)
    ours = {
        "fid": [fid],
        "clean": [fid],
        "kid": kid_subsets(x, y, subsets=100 if kind == "64" else 10),
        "is": inception_score(logits),
        "prc": precision_recall(x, y),
    }
    for name, found in ours.items():
        expected = theirs[name + kind]
        assert np.all(expected > 0)
        rtol = 1e-6 if kind == "64" else 1e-4
        np.testing.assert_allclose(found, expected, rtol=rtol, err_msg=name)


def test_fewer_points_than_features(sets, theirs):
    """Singular covariances, of which the tools take roots of rounded eigenvalues."""
    found = frechet_distance(sets["x"][:40], sets["y"][:40])
    np.testing.assert_allclose([found], theirs["few"], rtol=1e-6)
