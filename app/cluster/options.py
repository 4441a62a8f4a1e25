"""What `serve run app.ray:app` takes, as NAME=VALUE: the model, the replicas, OpenAI's API."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coladlm.serve import Limits


class ClusterOptions(BaseModel):
    """checkpoint: folder or Hub id, found on every machine; None is the bundled model. device, dtype: as in app.py.

    min_replicas, max_replicas: how many there are. queue: requests of a replica, running and waiting, above which there
    is to be another one, and far below which one fewer. cpus, gpus: what a replica takes of its machine. batch: texts
    that share a batch in it. drain_seconds: how long its runs may go on when it is replaced; what is left then is
    replayed by another one. per_visitor, accept_any_model: as in app.py.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(4, ge=1)
    queue: int = Field(16, ge=1)
    cpus: float = Field(1.0, ge=0)
    gpus: float = Field(0.0, ge=0)
    batch: int = Field(16, ge=1)
    drain_seconds: float = Field(60.0, ge=0)
    per_visitor: int = Field(0, ge=0)
    accept_any_model: bool = False

    @model_validator(mode="after")
    def _check(self) -> ClusterOptions:
        if self.max_replicas < self.min_replicas:
            most, least = self.max_replicas, self.min_replicas
            raise ValueError(f"max_replicas is {most}, expected at least min_replicas, {least}")
        return self

    def limits(self) -> Limits:
        """Of one replica: twice a full batch waits, so that one can always be filled up."""
        return Limits(running=2 * self.batch, waiting=2 * self.batch, per_visitor=0, batch=self.batch)

    def front_limits(self) -> Limits:
        """Of all of them."""
        one = self.limits()
        return Limits(one.running * self.max_replicas, one.waiting * self.max_replicas, self.per_visitor, self.batch)
