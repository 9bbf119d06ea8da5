"""What the broker answers when it does not do what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

Detail = TypeVar("Detail", bound=Message)


class TelegateError(Exception):
    """A call was refused or failed. Branch on `reason`, never on the message."""

    code: grpc.StatusCode
    """The gRPC code, for example RESOURCE_EXHAUSTED."""
    reason: str
    """A name of `telegate.v1.ErrorReason` without its prefix, for example "POOL_BUSY".

    Empty when no broker answered: the connection failed or the deadline passed.
    """
    retry_after: timedelta | None
    """How long to wait before trying again. None: the broker does not expect waiting to help."""
    metadata: Mapping[str, str]
    """What changes from one such error to the next, for example the pool's counts."""
    request_id: str
    """Finds the call in the broker's log. Empty when no broker answered."""

    def __init__(self, code: grpc.StatusCode, message: str, status: status_pb2.Status) -> None:
        super().__init__(message)
        info = _detail(status, error_details_pb2.ErrorInfo)
        retry = _detail(status, error_details_pb2.RetryInfo)
        request = _detail(status, error_details_pb2.RequestInfo)
        self.code = code
        self.reason = info.reason if info else ""
        self.metadata = dict(info.metadata) if info else {}
        self.retry_after = retry.retry_delay.ToTimedelta() if retry else None
        self.request_id = request.request_id if request else ""

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {super().__str__()}"

    @classmethod
    def from_rpc(cls, error: grpc.RpcError) -> TelegateError:
        """Reads the details that came with a failed call of a generated stub."""
        try:
            status = rpc_status.from_call(error)
        except ValueError:
            # The details contradict the status: something between us and the broker made it up.
            status = None
        return cls(error.code(), error.details() or "", status or status_pb2.Status())


def _detail(status: status_pb2.Status, kind: type[Detail]) -> Detail | None:
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            detail = kind()
            packed.Unpack(detail)
            return detail
    return None
