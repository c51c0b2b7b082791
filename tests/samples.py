"""The program's own figures, as /metrics shows them."""

from __future__ import annotations

from prometheus_client import REGISTRY


def sample(name: str, **labels: str) -> float:
    """The value now of trackrelay_NAME with these labels; 0 where there is none yet. It goes on over all tests of a
    process: compare two."""
    return REGISTRY.get_sample_value(f"trackrelay_{name}", labels) or 0.0
