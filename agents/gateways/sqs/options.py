"""The options of a queue in `line.toml`, and the client that they describe."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Text = Annotated[str, Field(strict=True, min_length=1)]


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise PydanticCustomError("url", "must be an address that begins with https:// or http://")
    return text


class QueueOptions(BaseModel):
    """The options that sources and ends share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["sqs"]
    queue: Text
    """The name of the queue, or its URL."""
    region: Text | None = None
    """The region of the queue. Default: that of `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile of AWS."""
    endpoint: Annotated[Text, AfterValidator(_url)] | None = None
    """The address of a server with the protocol of SQS other than Amazon's. Default: that of the region."""
    profile: Text | None = None
    """The profile of AWS with the credentials. Default: they come from where AWS's own tools find them."""

    @property
    def is_fifo(self) -> bool:
        """True if messages of a group are received in their order; the names of no other queues end like this."""
        return self.queue.endswith(".fifo")


class SqsSource(QueueOptions):
    """The options of `[source]` that say from which queue the messages of the source topic come."""

    receivers: Annotated[int, Field(strict=True, ge=1, le=100)] = 16
    """Maximum number of calls that a worker has open at once to receive messages."""


class SqsEndOptions(QueueOptions):
    """The options of an end that is a queue."""

    group: Text | None = None
    """The field of a record that is the message group of a FIFO queue. Default: the key of its source message."""
    packed: Annotated[bool, Field(strict=True)] = True
    """True if a message holds as many records as fit into a chunk of 64 KiB, one a line; False for one record each."""
    ordered: Annotated[bool, Field(strict=True)] = False
    """True if records of a group wait for one before them that could not be sent yet. Each is sent alone."""

    @model_validator(mode="after")
    def _fifo_alone(self) -> Self:
        if self.group is not None and not self.is_fifo:
            raise PydanticCustomError("group", "group is for FIFO queues, whose names end with .fifo: remove it")
        if self.ordered and not self.is_fifo:
            raise PydanticCustomError("ordered", "ordered is for FIFO queues, whose names end with .fifo: remove it")
        return self
