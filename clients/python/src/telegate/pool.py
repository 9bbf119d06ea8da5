"""A pool of a broker, and the leases that it grants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from telegate.error import TelegateError
from telegate.telegram import telegram_error
from telegate.v1 import resources_pb2, session_pool_pb2, session_pool_pb2_grpc

CALL_TIMEOUT = timedelta(seconds=10)
"""How long a call may take, besides the wait that it asks for."""


class Pool:
    """One pool of a broker. Safe to share between threads; close it when done."""

    def __init__(
        self,
        name: str,
        address: str,
        *,
        key: str | None = None,
        channel_credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """Connects lazily to `address`, "host:port".

        Without `channel_credentials` the connection is plaintext, which is for loopback and
        for networks that encrypt by themselves: the API key and the credentials travel on it.
        """
        self.name = name
        self._metadata = (("x-api-key", key),) if key else ()
        self._channel = (
            grpc.secure_channel(address, channel_credentials)
            if channel_credentials
            else grpc.insecure_channel(address)
        )
        self._stub = session_pool_pb2_grpc.SessionPoolStub(self._channel)

    def acquire(
        self,
        *,
        ttl: timedelta | None = None,
        wait: timedelta | None = None,
        session: str = "",
        selector: str = "",
        methods: Sequence[str] = (),
        peer: str = "",
        probe: bool = False,
        form: resources_pb2.CredentialForm = resources_pb2.CREDENTIAL_FORM_RAW,
        purpose: str = "",
        request_id: str = "",
    ) -> Lease:
        """Leases a session that matches, waiting up to `wait` for one to become free.

        Each parameter is the field of `telegate.v1.AcquireRequest` of the same name.
        Raises TelegateError, for example with reason POOL_BUSY.
        """
        request = session_pool_pb2.AcquireRequest(
            pool=self.name,
            ttl=_duration(ttl),
            wait=_duration(wait),
            session=session,
            selector=selector,
            methods=methods,
            peer=peer,
            probe=probe,
            form=form,
            purpose=purpose,
            request_id=request_id,
        )
        timeout = CALL_TIMEOUT + (wait or timedelta())
        return Lease(self, self._call(self._stub.Acquire, request, timeout), request)

    def status(self) -> resources_pb2.PoolStatus:
        """Counts the pool's sessions by state."""
        request = session_pool_pb2.GetPoolStatusRequest(pool=self.name)
        return self._call(self._stub.GetPoolStatus, request).status

    def keep_alive(
        self, requests: Iterable[session_pool_pb2.KeepAliveRequest]
    ) -> Iterator[session_pool_pb2.KeepAliveResponse]:
        """Renews the leases that the requests name, for as long as those come, and tells at once
        when one is lost. A thread of its own reads `requests`. Raises TelegateError."""
        try:
            yield from self._stub.KeepAlive(iter(requests), metadata=self._metadata)
        except grpc.RpcError as error:
            raise TelegateError.from_rpc(error) from error

    def close(self) -> None:
        """Closes the connection. Releases nothing."""
        self._channel.close()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(
        self, method: Callable[..., Any], request: Any, timeout: timedelta = CALL_TIMEOUT
    ) -> Any:
        try:
            return method(request, timeout=timeout.total_seconds(), metadata=self._metadata)
        except grpc.RpcError as error:
            raise TelegateError.from_rpc(error) from error


class Lease:
    """The exclusive right to one session until `expire_time`.

    As a context manager it releases the session at the end of the block: disconnect from
    Telegram before. An exception of a Telegram library that ends the block is reported with the
    release, and goes on; `verdict` then says what it means. Nothing renews the lease by itself.
    Its repr shows no secret.
    """

    def __init__(
        self,
        pool: Pool,
        granted: session_pool_pb2.AcquireResponse,
        asked: session_pool_pb2.AcquireRequest,
    ) -> None:
        self._pool = pool
        # What the work is about, where an exception does not say it.
        self._method = asked.methods[0] if len(asked.methods) == 1 else ""
        self._peer = asked.peer
        self._lease = granted.lease
        self.session: resources_pb2.Session = granted.session
        """The session, with its running cool-downs, proxy and device profile."""
        self.credential: resources_pb2.Credential = granted.credential
        """The secret, in the form that was asked for."""
        self.verdict: resources_pb2.Verdict | None = None
        """What to do about the last error that was reported. None before the first."""

    @property
    def id(self) -> str:
        """The lease's secret name. Never log it."""
        return self._lease.lease_id

    @property
    def epoch(self) -> int:
        """The fencing number: rises with every lease of the session."""
        return self._lease.epoch

    @property
    def ttl(self) -> timedelta:
        """The TTL that was granted; where clocks may differ, count it from before the call."""
        return self._lease.ttl.ToTimedelta()

    @property
    def expire_time(self) -> datetime:
        """When the lease ends unless it is renewed, by the broker's clock."""
        return self._lease.expire_time.ToDatetime(timezone.utc)

    def renew(self, ttl: timedelta | None = None) -> None:
        """Extends the lease, counted from now. Raises TelegateError LEASE_LOST when it is over."""
        request = session_pool_pb2.RenewRequest(lease_id=self.id, ttl=_duration(ttl))
        self._lease = self._pool._call(self._pool._stub.Renew, request).lease

    def report(
        self,
        error: BaseException | resources_pb2.TelegramError,
        *,
        method: str = "",
        peer: str = "",
    ) -> resources_pb2.Verdict:
        """Tells the broker what Telegram answered, and learns what to do.

        Takes an exception of a Telegram library or what it says in the contract's own words.
        A method that it does not know and a peer that is not given are those of the acquire, if
        it named one. Raises ValueError for an exception that no such library raised, and
        TelegateError.
        """
        request = session_pool_pb2.ReportRequest(
            lease_id=self.id, error=self._told(error, method, peer)
        )
        self.verdict = self._pool._call(self._pool._stub.Report, request).verdict
        return self.verdict

    def release(
        self,
        *,
        rest: timedelta | None = None,
        error: BaseException | resources_pb2.TelegramError | None = None,
    ) -> session_pool_pb2.ReleaseResponse:
        """Gives the session back. Twice is OK: the outcome then says that it had ended.

        With the error that ended the work it is `report` and `release` in one step.
        """
        request = session_pool_pb2.ReleaseRequest(
            lease_id=self.id,
            rest=_duration(rest),
            error=self._told(error) if error is not None else None,
        )
        released = self._pool._call(self._pool._stub.Release, request)
        if released.HasField("verdict"):
            self.verdict = released.verdict
        return released

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        is_telegrams = error is not None and telegram_error(error) is not None
        try:
            self.release(error=error if is_telegrams else None)
        except TelegateError:
            # The error that ended the block says more than the failure to clean up after it.
            if error is None:
                raise

    def _told(
        self,
        error: BaseException | resources_pb2.TelegramError,
        method: str = "",
        peer: str = "",
    ) -> resources_pb2.TelegramError:
        if isinstance(error, resources_pb2.TelegramError):
            return error
        told = telegram_error(error, method=method, peer=peer or self._peer)
        if told is None:
            raise ValueError(f"no Telegram library raised {error!r}")
        if not told.method and "caused by" not in told.message:
            told.method = self._method
        return told

    def __repr__(self) -> str:
        return f"Lease({self.session.pool}/{self.session.name}, epoch {self.epoch})"


def _duration(value: timedelta | None) -> Duration | None:
    if value is None:
        return None
    duration = Duration()
    # The broker refuses parts of a millisecond.
    duration.FromMilliseconds(value // timedelta(milliseconds=1))
    return duration
