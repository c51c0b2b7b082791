"""The program's own figures, as /metrics shows them."""

from __future__ import annotations

from prometheus_client import REGISTRY, Metric

from relay import metrics


def families() -> list[Metric]:
    """All that there are."""
    metrics.refresh()
    return [found for found in REGISTRY.collect() if found.name.startswith("trackrelay_")]


def sample(name: str, **labels: str) -> float:
    """The value now of trackrelay_NAME with these labels; 0 where there is none yet. It goes on over all tests of a
    process: compare two."""
    metrics.refresh()
    return REGISTRY.get_sample_value(f"trackrelay_{name}", labels) or 0.0
