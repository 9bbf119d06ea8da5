"""Opens session strings with Pyrogram or a fork of it: one per line of stdin, one JSON object per
line.

    python open_pyrogram.py LIBRARY

Nothing here opens a connection: only the storage classes are used.
"""

import asyncio
import importlib
import inspect
import json
import pathlib
import sys


def storage(library, string):
    """A storage in memory that is filled from a string, as a client makes it."""
    package = importlib.import_module(f"{library}.storage")
    if hasattr(package, "MemoryStorage"):
        return package.MemoryStorage("memory", string)
    known = {"workdir": pathlib.Path(), "session_string": string}
    known |= {"in_memory": True, "use_memory": True}
    wanted = inspect.signature(package.SQLiteStorage).parameters
    return package.SQLiteStorage("memory", **{name: known[name] for name in known if name in wanted})


async def main(library):
    """Prints what the library finds in each string."""
    for line in sys.stdin:
        store = storage(library, line.strip())
        await store.open()
        found = {
            "dc_id": await store.dc_id(),
            "test": bool(await store.test_mode()),
            "auth_key": (await store.auth_key()).hex(),
            "user_id": await store.user_id(),
            "is_bot": bool(await store.is_bot()),
            "api_id": await store.api_id(),
        }
        print(json.dumps(found))
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
