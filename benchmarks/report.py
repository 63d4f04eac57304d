"""The page docs/benchmarks/ from results of `make bench`: `python benchmarks/report.py FILE...`."""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from samplerzoo.tables import Table

OUT = Path(__file__).parent.parent / "docs" / "benchmarks"
SMALLEST = "cifar10-32"
Record = dict[str, Any]
Columns = dict[str, Callable[[Record], object]]


def read(paths: Iterable[str]) -> tuple[Record, dict[str, list[Record]]]:
    """The machine, and each group's benchmarks as flat rows, later files replacing earlier ones."""
    machine: Record = {}
    found: dict[tuple[str, str], Record] = {}
    for path in paths:
        content = json.loads(Path(path).read_text())
        here = content["machine_info"]["samplerzoo"]
        if machine and machine["device"] != here["device"]:
            raise SystemExit(f"{path} is of {here['device']}, another file of {machine['device']}.")
        machine = here
        for one in content["benchmarks"]:
            row = one["extra_info"] | {"seconds": one["stats"]["min"], "cores": here["cores"]}
            found[one["group"], one["name"]] = row
    groups: dict[str, list[Record]] = {}
    for (group, _), row in found.items():
        groups.setdefault(group, []).append(row)
    return machine, groups


def number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def field(name: str, factor: float = 1.0) -> Callable[[Record], str]:
    """A column of numbers."""
    return lambda row: number(None if row.get(name) is None else factor * row[name])


def text(name: str) -> Callable[[Record], object]:
    """A column of names and whole numbers."""
    return lambda row: row[name]


def table(rows: list[Record], columns: Columns) -> str:
    """Markdown, a row a benchmark."""
    if not rows:
        return "Not measured here."
    lines = [[str(write(row)) for write in columns.values()] for row in rows]
    return Table(list(columns), lines).markdown()


MEMORY: Columns = {
    "XLA's analysis, MB": field("xla_megabytes"),
    "process grows by, MB": field("peak_rss_megabytes"),
    "device's peak so far, MB": field("device_peak_megabytes"),
}
CHAIN: Columns = {
    "family": text("family"),
    "K": text("steps"),
    "batch": text("batch"),
    "cores": text("cores"),
}
STEP: Columns = {
    **CHAIN,
    "micro-batch": lambda row: row["microbatch"] or row["batch"],
    "step, s": field("seconds"),
    "limit, s": field("limit_seconds"),
    "step / limit": field("step_over_limit"),
    **MEMORY,
    "compile, s": field("compile_seconds"),
}
SAMPLING: Columns = {
    **CHAIN,
    "time, s": field("seconds"),
    "samples / s": field("samples_per_second"),
    "time / K forwards": field("sampling_over_forwards"),
    **MEMORY,
    "compile, s": field("compile_seconds"),
}
PEER: Columns = {
    "family": text("family"),
    "K": text("steps"),
    "batch": text("batch"),
    "cores": text("cores"),
    "ours, s": field("ours_seconds"),
    "PyTorch, s": field("torch_seconds"),
    "speed, PyTorch's time / ours": field("speed_ratio"),
    "ours grows by, MB": lambda row: number(row["rss_megabytes"].get("ours")),
    "PyTorch grows by, MB": lambda row: number(row["rss_megabytes"].get("torch")),
    "memory, ours / PyTorch": lambda row: memory_ratio(row),
}
NETWORK: Columns = {
    "network": text("network"),
    "parameters": lambda row: f"{row['parameters'] / 1e6:.2f} M",
    "batch": text("batch"),
    "cores": text("cores"),
    "forward, ms": field("forward_seconds", 1e3),
    "PyTorch, ms": field("torch_forward_seconds", 1e3),
    "speed": field("forward_ratio"),
    "with input's gradient, ms": field("pullback_seconds", 1e3),
    "PyTorch with it, ms": field("torch_pullback_seconds", 1e3),
    "speed with it": field("pullback_ratio"),
}
THROUGHPUT: Columns = {
    "network": text("network"),
    "K": text("steps"),
    "batch": text("batch"),
    "cores": text("cores"),
    "ours, samples / s": field("samples_per_second"),
    "diffusers, samples / s": field("torch_samples_per_second"),
    "speed": field("speed_ratio"),
}
LARGEST: Columns = {
    "family": text("family"),
    "K": text("steps"),
    "device, GiB": text("device_gib"),
    "weights, MB": field("weights_megabytes"),
    "a sample takes, MB": field("megabytes_a_sample"),
    "largest batch, undivided": text("largest_undivided"),
    "a waiting sample takes, MB": field("megabytes_a_waiting_sample"),
    "largest batch, micro-batches of 2": text("largest_with_microbatches_of_2"),
}
PROGRAM: Columns = {
    "family": text("family"),
    "K": text("steps"),
    "cores": text("cores"),
    "all, s": field("seconds"),
    "of it the iterations, s": field("search_seconds"),
    "FD over DDIM's": field("fd_over_ddim"),
}
METRIC: Columns = {
    "metric": text("metric"),
    "cores": text("cores"),
    "ours, s": field("ours_seconds"),
    "torch-fidelity, s": field("torch_fidelity_seconds"),
    "clean-fid, s": field("clean_fid_seconds"),
    "ours grows by, MB": field("ours_megabytes"),
    "torch-fidelity grows by, MB": field("torch_fidelity_megabytes"),
    "clean-fid grows by, MB": field("clean_fid_megabytes"),
}


def memory_ratio(row: Record) -> str:
    ours, theirs = (row["rss_megabytes"].get(side) for side in ("ours", "torch"))
    return number(ours / theirs if ours is not None and theirs else None)


def plot(rows: list[Record], name: str, label: str, path: Path) -> None:
    """A quantity against K, a line a family."""
    figure, axes = plt.subplots(figsize=(6, 4))
    for family in dict.fromkeys(row["family"] for row in rows):
        points = sorted((row["steps"], row[name]) for row in rows if row["family"] == family)
        axes.plot(*zip(*points, strict=True), marker="o", label=family)
    axes.set(xlabel="K", ylabel=label, title=f"Search step, {rows[0]['workload']}", ylim=(0, None))
    axes.legend()
    figure.savefig(path, bbox_inches="tight", dpi=100, metadata={"Software": None})
    plt.close(figure)


def by_workload(rows: list[Record], columns: Columns) -> str:
    """A table for each workload, under what its network is."""
    parts = []
    for name in dict.fromkeys(row["workload"] for row in rows):
        own = [row for row in rows if row["workload"] == name]
        own.sort(key=lambda row: (row["family"], row["steps"]))
        first = own[0]
        size = " x ".join(map(str, first["shape"]))
        parts.append(
            f"### {name}\n\n{size}, {first['parameters'] / 1e6:.2f} M parameters. "
            f"Scale: {first['scale']}.\n\n{table(own, columns)}"
        )
    return "\n\n".join(parts) or "Not measured here."


def peers(rows: list[Record]) -> str:
    """A table for each of the networks compared."""
    parts = []
    for name in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == name]
        million = own[0]["parameters"] / 1e6
        parts.append(f"### {name.capitalize()} network, {million:.2f} M\n\n{table(own, PEER)}")
    return "\n\n".join(parts) or "Not measured here."


def gddim_memory(rows: list[Record]) -> str:
    """The growth of the full past's memory with K, in words."""
    points = {
        r["steps"]: r["xla_megabytes"]
        for r in rows
        if (r["workload"], r["family"]) == (SMALLEST, "gddim")
    }
    if not points:
        return "GDDIM was not timed."
    few, many = min(points), max(points)
    listed = ", ".join(f"{number(points[k])} MB at K = {k}" for k in sorted(points))
    return (
        f"Memory against K for full-past GDDIM from {few} to {many}: {listed}, which is "
        f"{points[many] / points[few]:.2f} times the memory for {many / few:g} times the steps."
    )


def page(machine: Record, groups: dict[str, list[Record]]) -> str:
    """The page, Markdown."""
    steps, divided = groups.get("search step", []), groups.get("micro-batched search step", [])
    sampling, largest = groups.get("sampling", []), groups.get("largest batch", [])
    against = groups.get("search step against PyTorch", [])
    torch = f", PyTorch {against[0]['torch']}" if against else ""
    versions = ", ".join(f"{k} {machine[k]}" for k in ("python", "jax", "equinox", "numpy"))
    gpu = (
        ""
        if machine["platform"] != "cpu"
        else (
            " **Figures of GPUs are missing: none was at hand.** The networks are scaled down as "
            "said with each; `make bench` on a machine with a GPU times them at full size."
        )
    )
    sections = {
        "The default search": f"{WHOLE}\n\n" + table(groups.get("the default search", []), PROGRAM),
        "A search step": f"{LIMIT}\n\n{gddim_memory(steps)}\n\n{PLOTS if steps else ''}\n\n"
        + by_workload(steps, STEP),
        "A search step by micro-batches": by_workload(divided, STEP),
        "Sampling": by_workload(sampling, SAMPLING),
        "A search step against PyTorch": f"{PEERS}\n\n{peers(against)}",
        "Networks against PyTorch": table(groups.get("network against PyTorch", []), NETWORK),
        "Sampling against diffusers": table(groups.get("sampling against PyTorch", []), THROUGHPUT),
        "Metrics against other tools": f"{METRICS}\n\n"
        + table(groups.get("metric against other tools", []), METRIC),
        "The largest batch at 128 x 128": f"{BATCH}\n\n{table(largest, LARGEST)}"
        if largest
        else "Not measured here: `pytest benchmarks -k largest --full`.",
    }
    busy = (
        ""
        if machine["load"] <= 1.5 * machine["cores"]
        else (
            " **The machine was busy with other work**: times are longer than need be, and ratios "
            "to PyTorch, whose threads wait for one another, are worth little with more than one "
            "core."
        )
    )
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"""# Benchmarks

Written by `python benchmarks/report.py` from what `make bench EXTRAS=dev,oracle` measured, on
{machine["device"]}, with a load of {machine["load"]} when the run
ended: {versions}{torch}.{gpu}{busy} Every time is the shortest of a
few, beside PyTorch the median of ten; "cores" are the CPU cores that the process could use.

{body}
"""


LIMIT = """The limit is K forwards, K recomputations and K input-gradients of the bare network at
the same (micro-)batch, timed in turns with the step. XLA's analysis counts temporary buffers; the
process's growth is its highest resident memory during a step over that before it."""
PLOTS = """![Memory against K](memory.png)

![Time against K](time.png)"""
PEERS = """The same step written in PyTorch with diffusers' UNet2DModel, channels last and one
checkpoint a step, on the same weights with as many threads; loss and gradient agree to 1e-3 on the
same noise (asserted before timing). Memory is the growth of a process of its own, over two steps,
from when its network is loaded and its step compiled."""
WHOLE = """`samplerzoo search --family FAMILY` on the embedded digits: a process that compiles,
searches, scores 10,000 samples of each sampler in the features of two networks and draws."""
METRICS = """On the same float32 features, which are counted on no side; scores agree (asserted).
Ours are the mean of two calls, before and after the others."""
BATCH = """From XLA's analysis of the full-size program for CPUs at two batch sizes; on a GPU the
buffers of convolutions differ. With micro-batches a sample that waits keeps only its states."""


def main(*paths: str) -> None:
    """Write the page and its plots."""
    if not paths:
        raise SystemExit("Give the files that `make bench` wrote, e.g. benchmarks/latest.json.")
    machine, groups = read(paths)
    OUT.mkdir(parents=True, exist_ok=True)
    if steps := [r for r in groups.get("search step", []) if r["workload"] == SMALLEST]:
        plot(steps, "xla_megabytes", "XLA's analysis, MB", OUT / "memory.png")
        plot(steps, "seconds", "seconds", OUT / "time.png")
    (OUT / "README.md").write_text(page(machine, groups))


if __name__ == "__main__":
    main(*sys.argv[1:])
