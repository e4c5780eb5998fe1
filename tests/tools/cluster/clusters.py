"""Real clusters of Ray, whose machines are processes on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.cluster_utils import Cluster


@contextmanager
def started_cluster(machines: int, cores: int = 1, **options: Any) -> Iterator[Cluster]:
    """Machines of which the first is the head, and the others have some options."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": cores, "include_dashboard": False})
    try:
        for _ in range(machines - 1):
            cluster.add_node(num_cpus=cores, **options)
        yield cluster
    finally:
        cluster.shutdown()
