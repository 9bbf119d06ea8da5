"""Leases sessions from a Telegate broker.

    with telegate.Pool("demo", "127.0.0.1:7311", key=KEY) as pool:
        with pool.acquire() as lease:
            use(lease.credential.telegram)
"""

from telegate.error import TelegateError
from telegate.pool import Lease, Pool
from telegate.telegram import telegram_error

__all__ = ["Lease", "Pool", "TelegateError", "telegram_error"]
