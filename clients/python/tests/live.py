"""Plays a worker against a live broker: TELEGATE_ADDRESS, TELEGATE_KEY, TELEGATE_POOL."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import grpc
from telethon.sessions import StringSession

from telegate import Lease, Pool, TelegateError
from telegate.v1 import resources_pb2, session_pool_pb2

MAX_SESSIONS = 64
"""The largest pool that is emptied before the test calls it endless."""

passed, failed = 0, 0


def check(sentence: str, got: Any, wanted: Any) -> None:
    global passed, failed
    if got == wanted:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {sentence}: got {got!r}, wanted {wanted!r}")


def refusal(call: Any) -> TelegateError:
    """The error that the call must end with."""
    try:
        granted = call()
    except TelegateError as error:
        return error
    if isinstance(granted, Lease):
        granted.release()
    raise AssertionError("the call went through")


def missing_and_wrong_keys_are_refused(address: str, name: str) -> None:
    with Pool(name, address) as pool:
        error = refusal(pool.acquire)
    print(f"without key: {error.code.name} {error.reason} {error.metadata}")
    check("no key: the code", error.code, grpc.StatusCode.UNAUTHENTICATED)
    check("no key: the reason", error.reason, "API_KEY_MISSING")
    check("no key: the header to send", error.metadata.get("header"), "x-api-key")
    check("no key: waiting does not help", error.retry_after, None)
    check("no key: the request has an id", error.request_id != "", True)

    with Pool(name, address, key="tg_wrong") as pool:
        error = refusal(pool.acquire)
    check("wrong key: the code", error.code, grpc.StatusCode.PERMISSION_DENIED)
    check("wrong key: the reason", error.reason, "API_KEY_INVALID")


def acquire_until_refused(pool: Pool, stack: ExitStack) -> tuple[list[Lease], TelegateError]:
    leases: list[Lease] = []
    while len(leases) < MAX_SESSIONS:
        try:
            leases.append(stack.enter_context(pool.acquire(ttl=timedelta(seconds=60))))
        except TelegateError as error:
            return leases, error
    raise AssertionError(f"more than {MAX_SESSIONS} leases")


def a_pool_lends_each_session_once(pool: Pool) -> None:
    free = pool.status().counts.free
    with ExitStack() as stack:
        leases, error = acquire_until_refused(pool, stack)
        print(f"acquired: {', '.join(lease.session.name for lease in leases)}")
        check("every free session was lent", len(leases), free)
        check("there was one to lend", len(leases) > 0, True)
        check("none was lent twice", len({lease.session.name for lease in leases}), len(leases))
        check("no lease id came twice", len({lease.id for lease in leases}), len(leases))
        for lease in leases:
            key = lease.credential.telegram.auth_key
            check("a credential came with it", len(key), 256)
            check("the epoch is set", lease.epoch > 0, True)
            check("repr hides the lease id", lease.id in repr(lease), False)
        busy(pool, error, len(leases))
        renew_and_release(leases[0])
    check("all sessions are free again", pool.status().counts.free, free)


def busy(pool: Pool, error: TelegateError, leased: int) -> None:
    print(f"then: {error.code.name} {error.reason}, retry after {error.retry_after}")
    print(f"      {dict(sorted(error.metadata.items()))}")
    check("busy: the code", error.code, grpc.StatusCode.RESOURCE_EXHAUSTED)
    check("busy: the reason", error.reason, "POOL_BUSY")
    check("busy: the pool", error.metadata.get("pool"), pool.name)
    check("busy: none is free", error.metadata.get("free"), "0")
    check("busy: all are leased", error.metadata.get("leased"), str(leased))
    check("busy: the soonest end is told", "next_release_in" in error.metadata, True)
    retry_after = error.retry_after or timedelta()
    check("busy: waiting helps", timedelta() < retry_after < timedelta(seconds=90), True)
    check("busy: the request has an id", error.request_id != "", True)


def renew_and_release(lease: Lease) -> None:
    before = lease.expire_time
    lease.renew(timedelta(seconds=120))
    print(f"renewed: {lease!r} for {lease.ttl}")
    check("renewed: the TTL is as wished", lease.ttl, timedelta(seconds=120))
    check("renewed: the end has moved", lease.expire_time - before > timedelta(seconds=30), True)

    first, second = lease.release().outcome, lease.release().outcome
    print(f"released: outcome {first}, again: outcome {second}")
    check("released", first, session_pool_pb2.RELEASE_OUTCOME_RELEASED)
    check("released twice is OK", second, session_pool_pb2.RELEASE_OUTCOME_ALREADY_ENDED)
    error = refusal(lease.renew)
    check("a released lease is lost", error.reason, "LEASE_LOST")
    check("a lost lease is over for good", error.retry_after, None)


def telethon_opens_the_credential(pool: Pool) -> None:
    with pool.acquire(form=resources_pb2.CREDENTIAL_FORM_TELETHON_STRING) as lease:
        name, text = lease.session.name, lease.credential.text
    opened = StringSession(text)
    with pool.acquire(session=name) as lease:
        check("the named session came", lease.session.name, name)
        raw = lease.credential.telegram
    print(f"telethon: opened {name}, data centre {opened.dc_id}")
    check("telethon: the data centre", opened.dc_id, raw.dc_id)
    # Compared here, so that a failure does not print the key.
    check("telethon: the key is the same", opened.auth_key.key == raw.auth_key, True)


def main() -> int:
    address, key = os.environ["TELEGATE_ADDRESS"], os.environ["TELEGATE_KEY"]
    name = os.environ.get("TELEGATE_POOL", "demo")
    try:
        missing_and_wrong_keys_are_refused(address, name)
        with Pool(name, address, key=key) as pool:
            a_pool_lends_each_session_once(pool)
            telethon_opens_the_credential(pool)
    except (AssertionError, TelegateError) as error:
        check(f"the run ends well ({error})", False, True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
