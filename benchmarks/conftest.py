import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parent.parent / "tests"))  # fidelity_oracle


def pytest_addoption(parser):
    parser.addoption(
        "--full",
        action="store_true",
        help="all workloads with all families and K; on a GPU this is the default",
    )


def pytest_benchmark_update_machine_info(config, machine_info):
    from measure import machine

    machine_info["samplerzoo"] = machine()


@pytest.fixture
def on_cpu():
    import jax

    return jax.devices()[0].platform == "cpu"


@pytest.fixture
def full(request, on_cpu):
    return request.config.getoption("full") or not on_cpu


@pytest.fixture(autouse=True)
def forgotten():
    """A compiled program takes a thousand of a process's memory maps, of which there are 65,530."""
    yield
    import jax

    jax.clear_caches()
