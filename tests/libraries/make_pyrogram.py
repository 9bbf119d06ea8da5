"""Makes session files and strings with Pyrogram or a fork of it, and prints as JSON what is in them.

    python make_pyrogram.py LIBRARY FOLDER

The keys are made up. Nothing here opens a connection: only the storage classes are used.
"""

import asyncio
import hashlib
import importlib
import json
import os
import pathlib
import sys


def storage(library, name, folder):
    """An empty storage in a file, as a client makes it."""
    package = importlib.import_module(f"{library}.storage")
    if hasattr(package, "FileStorage"):
        return package.FileStorage(name, folder)
    return package.SQLiteStorage(name, folder)


async def made(library, folder, name, dc_id, test, user_id, is_bot):
    """A logged-in session, as a client leaves it behind."""
    key = os.urandom(256)
    store = storage(library, name, folder)
    await store.open()
    await store.dc_id(dc_id)
    await store.api_id(2040)
    await store.test_mode(test)
    await store.auth_key(key)
    await store.user_id(user_id)
    await store.is_bot(is_bot)
    string = await store.export_session_string()
    await store.save()
    await store.close()
    return {
        "file": name + ".session",
        "string": string,
        "dc_id": dc_id,
        "test": test,
        "auth_key": key.hex(),
        "auth_key_id": hashlib.sha1(key).digest()[12:].hex(),
        "user_id": user_id,
        "is_bot": is_bot,
        "api_id": 2040,
    }


async def main(library, folder):
    """Makes a session per data centre, a bot's and one on a test data centre."""
    folder = pathlib.Path(folder)
    sessions = [
        await made(library, folder, f"dc{dc_id}", dc_id, False, 5_000_000_000 + dc_id, False)
        for dc_id in range(1, 6)
    ]
    sessions.append(await made(library, folder, "bot", 2, False, 4242, True))
    sessions.append(await made(library, folder, "test", 2, True, 4243, False))
    version = importlib.import_module(library).__version__
    json.dump({"version": version, "sessions": sessions}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
