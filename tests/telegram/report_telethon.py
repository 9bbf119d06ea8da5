"""A worker with real Telethon: its own exceptions are reported by the command, the verdicts obeyed.

    report_telethon.py TELEGATE

The broker is that of TELEGATE_ADDRESS, TELEGATE_KEY and TELEGATE_POOL. Telethon never connects: a
transport that answers what Telegram would stands in its place, so that the exception is raised by
the library's own code on its own way.
"""

import asyncio
import json
import os
import subprocess
import sys

from telethon import TelegramClient, errors, functions
from telethon.sessions import StringSession
from telethon.tl import types

TELEGATE = sys.argv[1]
POOL = os.environ["TELEGATE_POOL"]
METHOD = "users.getFullUser"
#: What "Telegram" answers the first session, and the second.
ANSWERS = ["FLOOD_WAIT_250", None]


def telegate(*words):
    """Calls the command, and reads its JSON."""
    address = "http://" + os.environ["TELEGATE_ADDRESS"]
    called = [TELEGATE, "--address", address, "--json", *words]
    return json.loads(subprocess.run(called, check=True, capture_output=True, text=True).stdout)


class Sender:
    """Stands where Telethon sends requests to Telegram; answers one by an error or a user."""

    def __init__(self, answer):
        self.answer = answer

    def send(self, request, ordered=False):
        future = asyncio.get_running_loop().create_future()
        if self.answer is None:
            future.set_result(types.users.UserFull(full_user=None, chats=[], users=[]))
        else:
            error = types.RpcError(420, self.answer)
            future.set_exception(errors.rpc_message_to_error(error, request))
        return future


async def ask(lease, answer):
    """Asks for a user with the leased session."""
    session = StringSession(lease["credential"]["text"])
    client = TelegramClient(session, 1, "0", flood_sleep_threshold=0, request_retries=1)
    request = functions.users.GetFullUserRequest(types.InputUserSelf())
    return await client._call(Sender(answer), request)


async def work():
    used = []
    for answer in ANSWERS:
        words = ["--pool", POOL, "--form", "telethon-string", "--method", METHOD]
        granted = telegate("acquire", *words)
        used.append(granted["session"]["name"])
        lease = granted["lease"]["leaseId"]
        try:
            await ask(granted, answer)
        except errors.FloodWaitError as error:
            # As a traceback prints it.
            message = f"{type(error).__name__}: {error}"
            verdict = telegate("report", lease, message, "--method", METHOD)["verdict"]
            assert verdict["rule"] == "W1", verdict
            assert verdict["subject"] == METHOD, verdict
            telegate("release", lease)
            if verdict["otherSession"] == "OTHER_SESSION_YES":
                continue
            raise
        telegate("release", lease)
        assert len(set(used)) == len(used) == 2, used
        print(f"waited for nothing, went to another session: {used}")


asyncio.run(work())
