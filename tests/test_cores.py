"""The program sees a device in every core, unless something else is said."""

import os
import subprocess
import sys

import pytest

PROGRAM = "from samplerzoo.cores import use_all_cores\nuse_all_cores()\n"
COUNT = "import jax\nprint(jax.device_count())"
FLAG = "--xla_force_host_platform_device_count=3"


@pytest.mark.parametrize(
    ("said", "program", "devices"),
    [
        ({}, PROGRAM + COUNT, min(16, len(os.sched_getaffinity(0)))),
        ({"JAX_NUM_CPU_DEVICES": "3"}, PROGRAM + COUNT, 3),
        ({"XLA_FLAGS": FLAG}, PROGRAM + COUNT, 3),
        ({}, "import jax\n" + PROGRAM + COUNT, 1),
    ],
    ids=["nothing", "a number", "XLA's flag", "too late"],
)
def test_a_device_in_every_core(said, program, devices):
    apart = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    environment = {name: value for name, value in os.environ.items() if name not in apart} | said
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert int(found.stdout) == devices
