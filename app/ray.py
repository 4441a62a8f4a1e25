"""The model on many machines, by Ray Serve: `serve run app.ray:app min_replicas=2 max_replicas=8 gpus=1`.

One deployment of replicas, each with a model of its own (`cluster/replica.py`), and one of fronts, which check requests
and write answers (`cluster/front.py`). Ray sends a run to the less busy of two replicas, whose events come back as one
stream; it starts more replicas where they have long queues, and others where some have ended. What that does to runs is
in docs/scaling.md.
"""

from collections.abc import Generator
from typing import Any

from ray import serve
from ray.exceptions import (
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RpcError,
    WorkerCrashedError,
)
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from ray.serve.exceptions import ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette

from coladlm.serve.replayed import LostReplicaError

from .cluster.front import front_app
from .cluster.options import ClusterOptions
from .cluster.replica import Replica

LONGEST_REPLAY = 600.0  # seconds
LOST: tuple[type[Exception], ...] = (
    RayActorError,  # the process of the replica has ended, or cannot be reached (ActorDiedError, ActorUnavailableError)
    WorkerCrashedError,  # the same, where Ray does not say whose process it was
    OutOfMemoryError,  # Ray has ended the process, as its machine had no memory left
    NodeDiedError,  # its machine has gone, or cannot be reached
    LocalRayletDiedError,  # Ray's own process on its machine has ended, and takes all others with it
    ObjectLostError,  # an event lay on a machine that has gone (OwnerDiedError, ObjectReconstructionFailedError, ...)
    RpcError,  # a call between Ray's processes failed, as when a machine goes in the middle of it
    ReplicaUnavailableError,  # the replica that Serve chose has gone before the run was sent to it
)
"""What Ray raises from a stream whose replica, or whose machine, is lost. Anything else would come again with a replay:
an error of the replica's own code, a request that was cancelled, a deployment that has failed (and BackPressureError is
not raised without `max_queued_requests`).
"""


def streamed(replicas: DeploymentHandle[Any], method: str, *arguments: Any) -> Generator[Any]:
    """What a method of some replica sends. Closing the iterator ends the work there. Raises LostReplicaError."""
    sent = getattr(replicas.options(stream=True), method).remote(*arguments)
    try:
        yield from sent
    except LOST as error:
        raise LostReplicaError(str(error)) from error
    finally:
        sent.cancel()


@serve.ingress()
class Front:
    """The front, as Ray Serve wants it."""

    def __init__(self, replicas: DeploymentHandle[Any], options: ClusterOptions) -> None:
        self.replicas, self.options = replicas, options

    def __serve_build_asgi_app__(self) -> Starlette:
        return front_app(lambda method, *arguments: streamed(self.replicas, method, *arguments), self.options)


def app(options: ClusterOptions) -> Application:
    """The application of Ray Serve for these options."""
    limits = options.limits()
    replicas: Any = serve.deployment(
        Replica, name="Replica",
        autoscaling_config=AutoscalingConfig(
            min_replicas=options.min_replicas, initial_replicas=options.min_replicas, max_replicas=options.max_replicas,
            target_ongoing_requests=options.queue,
        ),
        max_ongoing_requests=limits.running + limits.waiting,
        ray_actor_options={"num_cpus": options.cpus, "num_gpus": options.gpus},
        graceful_shutdown_timeout_s=options.drain_seconds,
    )  # fmt: skip
    ongoing = options.front_limits()
    front: Any = serve.deployment(
        Front, name="Front", num_replicas=1, max_ongoing_requests=ongoing.running + ongoing.waiting + 64,
        ray_actor_options={"num_cpus": 0.5},
        # longer than the replicas: what one of them has not ended by then is replayed for this front
        graceful_shutdown_timeout_s=options.drain_seconds + LONGEST_REPLAY,
    )  # fmt: skip
    return front.bind(replicas.bind(options), options)
