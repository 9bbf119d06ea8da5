"""Makes session files and strings with the real Telethon, and prints as JSON what is in them.

    python make_telethon.py FOLDER

The keys are made up. Nothing here opens a connection: only the session classes are used.
"""

import json
import os
import sys

import telethon
from telethon.crypto import AuthKey
from telethon.sessions import SQLiteSession, StringSession

DATA_CENTRES = {
    1: "149.154.175.53",
    2: "149.154.167.51",
    3: "149.154.175.100",
    4: "149.154.167.91",
    5: "91.108.56.130",
}


def made(folder, name, dc_id, address, key):
    """A logged-in session with some entities, as a client leaves it behind."""
    session = SQLiteSession(os.path.join(folder, name))
    session.set_dc(dc_id, address, 443)
    session.auth_key = AuthKey(data=key)
    session._execute(
        "insert or replace into entities (id, hash, username) values (?, ?, ?)",
        4242, 99, "somebody",
    )
    session.save()
    string = StringSession.save(session)
    session.close()
    return {
        "file": name + ".session",
        "dc_id": dc_id,
        "auth_key": key.hex(),
        "auth_key_id": AuthKey(data=key).key_id.to_bytes(8, "little").hex(),
        "string": string,
    }


def main(folder):
    """Makes a session per data centre, one with an IPv6 address, and one that is not logged in."""
    sessions = [
        made(folder, f"dc{dc_id}", dc_id, address, os.urandom(256))
        for dc_id, address in DATA_CENTRES.items()
    ]
    sessions.append(made(folder, "ipv6", 4, "2001:67c:4e8:f004::a", os.urandom(256)))
    empty = SQLiteSession(os.path.join(folder, "empty"))
    empty.save()
    empty.close()
    json.dump({"version": telethon.__version__, "sessions": sessions}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
