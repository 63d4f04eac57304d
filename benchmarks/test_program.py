"""The README's first search, whole: a process that compiles, searches, scores and draws."""

import json
import os
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import pytest


@pytest.mark.benchmark(group="the default search")
@pytest.mark.parametrize("family", ["rddim", "gddim"])
def test_default_search(benchmark, family, tmp_path):
    """On the embedded digits."""
    search = ["search", "--family", family, "--json", "--quiet"]
    command = [sys.executable, "-m", "samplerzoo", *search]

    def run():
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout

    result = json.loads(benchmark.pedantic(run, rounds=1))
    fd = {
        row["sampler"]: row["fd"]
        for row in result["rows"]
        if row["features"] == result["report_features"]
    }
    assert fd[family] < fd["ddim-linear"]
    benchmark.extra_info |= {
        "family": family,
        "steps": result["nfe"],
        "search_seconds": result["search_seconds"],
        "fd_over_ddim": fd[family] / fd["ddim-linear"],
    }


def product_seconds(number: int = 5) -> float:
    """The seconds of one product of two float32 matrices of 4096 x 4096, here and now."""
    matrix = jnp.ones((4096, 4096))
    product = jax.jit(jnp.matmul)
    product(matrix, matrix).block_until_ready()
    begun = time.perf_counter()
    for _ in range(number):
        product(matrix, matrix).block_until_ready()
    return (time.perf_counter() - begun) / number


@pytest.mark.benchmark(group="the default search in matrix products")
@pytest.mark.parametrize("kept", [False, True], ids=["first", "again"])
def test_default_search_beside_products(benchmark, kept, tmp_path):
    """From start to pictures, in products timed before and after: at most 60 is the aim.

    The first search compiles; another finds the compiled programs on disk.
    """
    others = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment = others | {"SAMPLERZOO_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "samplerzoo", "search", "--quiet"]

    def run():
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True)

    if kept:
        run()
    before = product_seconds()
    benchmark.pedantic(run, rounds=1)
    product = (before + product_seconds()) / 2
    benchmark.extra_info |= {
        "product_seconds": product,
        "products": benchmark.stats.stats.mean / product,
    }
