"""Real clusters of Ray, whose machines are processes on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.cluster_utils import Cluster


@contextmanager
def started_cluster(machines: int, cores: int = 1, **options: Any) -> Iterator[Cluster]:
    """Machines of which the first is the head, and the others have some options; or a head that trains nothing."""
    head = {"num_cpus": cores if machines else 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(machines - 1):
            cluster.add_node(num_cpus=cores, **options)
        yield cluster
    finally:
        cluster.shutdown()
