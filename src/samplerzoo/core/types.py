"""Array aliases used in public signatures.

Shapes name their axes the same way everywhere: `K` network evaluations, `depth` states that a
row reaches, `N` samples, `M` reference images, `d` features.
"""

from typing import TypeAlias

from jaxtyping import Array, Float, PRNGKeyArray

Scalar: TypeAlias = Float[Array, ""]
State: TypeAlias = Float[Array, "..."]  # one sample, channels last for images
Steps: TypeAlias = Float[Array, "K"]
Grid: TypeAlias = Float[Array, "knots"]  # K + 1 times, the last 0
Key: TypeAlias = PRNGKeyArray
