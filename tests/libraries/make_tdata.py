"""Makes tdata folders with the real opentele, and prints as JSON what is in them.

    python make_tdata.py FOLDER

The keys are made up. Nothing here opens a connection: only the reader and writer are used.
"""

import json
import os
import sys
from importlib.metadata import version

from opentele.td import Account, AuthKey, TDesktop
from opentele.td.auth import AuthKeyType
from opentele.td.configs import DcId

PASSCODE = "correct horse"
# Otherwise every folder has the same local key.
TDesktop.kPerformanceMode = False


def folder(root, name, accounts, passcode):
    """A folder with some accounts, each with a key of another data centre beside its own."""
    desktop = TDesktop()
    told = []
    for number, (user_id, dc_id) in enumerate(accounts):
        keys = {dc: os.urandom(256) for dc in (dc_id, dc_id % 5 + 1)}
        # An owner of its own: two accounts of one owner name each other for ever.
        account = Account(owner=TDesktop(), index=number)
        order = sorted(keys) if number % 2 else sorted(keys, reverse=True)
        account._setMtpAuthorizationCustom(
            DcId(dc_id),
            user_id,
            [AuthKey(keys[dc], AuthKeyType.ReadFromFile, DcId(dc)) for dc in order],
        )
        desktop._addSingleAccount(account)
        told.append({"user_id": user_id, "dc_id": dc_id, "auth_key": keys[dc_id].hex()})
    desktop.SaveTData(os.path.join(root, name), passcode=passcode)
    return {"folder": name, "passcode": passcode or "", "accounts": told}


def main(root):
    """One account, as many as there may be, and one behind a passcode."""
    folders = [
        folder(root, "one/tdata", [(42, 2)], None),
        folder(root, "three/tdata", [(4242, 1), (7_000_000_001, 4), (9, 5)], None),
        folder(root, "locked", [(77, 3)], PASSCODE),
    ]
    json.dump({"version": version("opentele"), "folders": folders}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
