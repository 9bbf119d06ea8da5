"""Plays a worker against a live broker: TELEGATE_ADDRESS, TELEGATE_KEY, TELEGATE_POOL."""

from __future__ import annotations

import os
import struct
import sys
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import grpc
import telethon
from telethon.sessions import StringSession
from telethon.tl import functions, types

from telegate import Lease, Pool, TelegateError, telegram_error
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
        renew_and_release(pool, leases[0])
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


def renew_and_release(pool: Pool, lease: Lease) -> None:
    before = lease.expire_time
    lease.renew(timedelta(seconds=120))
    print(f"renewed: {lease!r} for {lease.ttl}")
    check("renewed: the TTL is as wished", lease.ttl, timedelta(seconds=120))
    check("renewed: the end has moved", lease.expire_time - before > timedelta(seconds=30), True)

    asked = session_pool_pb2.KeepAliveRequest(lease_ids=[lease.id, lease.id])
    kept = [answer.WhichOneof("event") for answer in pool.keep_alive([asked])]
    check("kept alive: each lease is answered once", kept, ["renewed"])

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


def raised_by_telethon(code: int, message: str) -> Exception:
    """The real exception that Telethon makes of an answer of Telegram."""
    request = functions.InvokeWithLayerRequest(1, functions.messages.GetStickersRequest("", 0))
    return telethon.errors.rpc_message_to_error(types.RpcError(code, message), request)


def what_telethon_raises_is_read() -> None:
    for code, message, wanted in [
        (420, "FLOOD_WAIT_17", ("FloodWaitError", 420, 17)),
        (303, "FILE_MIGRATE_4", ("FileMigrateError", 303, 4)),
        (401, "AUTH_KEY_UNREGISTERED", ("AuthKeyUnregisteredError", 401, None)),
    ]:
        told = telegram_error(raised_by_telethon(code, message))
        assert told is not None
        argument = told.argument if told.HasField("argument") else None
        check(f"{message} is read", (told.type, told.code, argument), wanted)
        check(f"{message}: the method", told.method, "messages.getStickers")
    lost = telegram_error(telethon.errors.common.AuthKeyNotFound())
    check("a forgotten key is the transport's", lost and lost.transport_code, -404)
    many = telegram_error(telethon.errors.common.InvalidBufferError(struct.pack("<i", -429)))
    check("too many connections are the transport's", many and many.transport_code, -429)
    try:
        try:
            raise raised_by_telethon(420, "FLOOD_WAIT_17")
        except telethon.errors.FloodWaitError as error:
            raise RuntimeError("the job failed") from error
    except RuntimeError as error:
        told = telegram_error(error)
    check("a cause is read", told and told.type, "FloodWaitError")
    check("other exceptions are nobody's", telegram_error(ValueError("420 FLOOD_WAIT_17")), None)


def an_error_closes_the_method_for_its_session(pool: Pool) -> None:
    cooled: list[str] = []
    method = "messages.getStickers"
    for _ in range(pool.status().counts.free):
        try:
            with pool.acquire(methods=[method]) as lease:
                cooled.append(lease.session.name)
                raise raised_by_telethon(420, "FLOOD_WAIT_30")
        except telethon.errors.FloodWaitError as error:
            check("the exception goes on", error.seconds, 30)
        verdict = lease.verdict
        assert verdict is not None
        print(f"verdict: {verdict.rule} {verdict.subject} until {verdict.until.ToDatetime()}")
        check("the rule", verdict.rule, "W1")
        check("the action", verdict.action, resources_pb2.VERDICT_ACTION_COOL_DOWN)
        check("the scope", verdict.scope, resources_pb2.COOL_DOWN_SCOPE_METHOD)
        check("the subject", verdict.subject, method)
        check("another would help", verdict.other_session, resources_pb2.OTHER_SESSION_YES)
    check("each session cools down once", len(set(cooled)), len(cooled))
    error = refusal(lambda: pool.acquire(methods=["GetStickersRequest"]))
    print(f"then: {error.code.name} {error.reason}, retry after {error.retry_after}")
    check("all cool down: the reason", error.reason, "POOL_FLOOD_WAIT")
    check("all cool down: waiting helps", error.retry_after is not None, True)
    with pool.acquire(peer="channel:1") as lease:
        (entry,) = lease.session.cool_downs
        check("a lease lists the cool-down", (entry.subject, entry.rule), (method, "W1"))
        verdict = lease.report(raised_by_telethon(420, "SLOWMODE_WAIT_5"))
        check("a report by hand: the rule", (verdict.rule, verdict.subject), ("W3", "channel:1"))
        check("a report by hand is kept", lease.verdict, verdict)
        check("it is LEASED still", verdict.session_state, resources_pb2.SESSION_STATE_LEASED)


def main() -> int:
    address, key = os.environ["TELEGATE_ADDRESS"], os.environ["TELEGATE_KEY"]
    name = os.environ.get("TELEGATE_POOL", "demo")
    try:
        missing_and_wrong_keys_are_refused(address, name)
        with Pool(name, address, key=key) as pool:
            a_pool_lends_each_session_once(pool)
            telethon_opens_the_credential(pool)
            what_telethon_raises_is_read()
            an_error_closes_the_method_for_its_session(pool)
    except (AssertionError, TelegateError) as error:
        check(f"the run ends well ({error})", False, True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
