"""Opens session strings with the real Telethon: one per line of stdin, one JSON object per line.

Nothing here opens a connection: only the session class is used.
"""

import json
import sys

from telethon.sessions import StringSession


def main():
    """Prints what Telethon finds in each string."""
    for line in sys.stdin:
        session = StringSession(line.strip())
        json.dump(
            {
                "dc_id": session.dc_id,
                "address": session.server_address,
                "port": session.port,
                "auth_key": session.auth_key.key.hex(),
            },
            sys.stdout,
        )
        print()


if __name__ == "__main__":
    main()
