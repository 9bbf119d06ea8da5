"""Reads the exceptions of Telegram libraries, without importing any of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from telegate.v1 import resources_pb2

LIBRARIES = ("telethon", "pyrogram", "hydrogram")
"""The packages whose exceptions are read. Kurigram goes by the name of Pyrogram."""

# Where libraries keep the code, and the number that was in the name.
_CODES = ("code", "CODE")
_NUMBERS = ("seconds", "minutes", "new_dc", "dc", "which", "code_length", "value")
# Broken connections that say no more than their class: the transport's own -404.
_FORGOTTEN_KEY = "AuthKeyNotFound"
# What the broker takes, in bytes.
_MAX_TYPE, _MAX_MESSAGE, _MAX_SUBJECT = 256, 1024, 128
# How far causes are followed, and how deep requests are nested.
_MAX_DEPTH = 8


def telegram_error(
    error: BaseException, *, method: str = "", peer: str = ""
) -> resources_pb2.TelegramError | None:
    """What Telegram said, as far as the exception or one of its causes tells it.

    None when no Telegram library raised any of them. `method` is read from the exception where
    it knows it; `peer` is any stable text for the chat or user that it was about.
    """
    for each in _with_causes(error):
        library = type(each).__module__.partition(".")[0]
        if library in LIBRARIES and _speaks_of_telegram(each):
            return _read(each, library, method, peer)
    return None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    for _ in range(_MAX_DEPTH):
        if following is None:
            return
        yield following
        # Telethon gathers the errors of a batch.
        batch = getattr(following, "exceptions", None)
        if isinstance(batch, (list, tuple)):
            yield from (each for each in batch if isinstance(each, BaseException))
        following = following.__cause__ or following.__context__


def _speaks_of_telegram(error: BaseException) -> bool:
    return _code(error) != 0 or type(error).__name__ == _FORGOTTEN_KEY


def _read(
    error: BaseException, library: str, method: str, peer: str
) -> resources_pb2.TelegramError:
    told = resources_pb2.TelegramError(
        library=library,
        method=_clip(method or _method(error), _MAX_SUBJECT),
        peer=_clip(peer, _MAX_SUBJECT),
    )
    if type(error).__name__ == _FORGOTTEN_KEY:
        told.transport_code = -404
        return told
    if isinstance(error, BufferError):
        # Telethon turns the sign of the transport's code around.
        told.transport_code = -abs(_code(error))
        return told
    identity = getattr(error, "ID", None)
    told.type = _clip(identity if isinstance(identity, str) else type(error).__name__, _MAX_TYPE)
    told.code = _code(error)
    told.message = _clip(str(error), _MAX_MESSAGE)
    number = _number(error)
    if number is not None:
        told.argument = number
    return told


def _code(error: BaseException) -> int:
    codes = (getattr(error, name, None) for name in _CODES)
    return next((code for code in codes if _is_number(code)), 0)


def _number(error: BaseException) -> int | None:
    numbers = (getattr(error, name, None) for name in _NUMBERS)
    return next((int(number) for number in numbers if _is_number(number)), None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _method(error: BaseException) -> str:
    """Telethon keeps the request, perhaps inside of others. Pyrogram's text names the method."""
    request = getattr(error, "request", None)
    for _ in range(_MAX_DEPTH):
        inner = getattr(request, "query", None)
        if not hasattr(inner, "CONSTRUCTOR_ID"):
            break
        request = inner
    if request is None:
        return ""
    namespace = type(request).__module__.rpartition(".")[2]
    name = type(request).__name__.removesuffix("Request")
    # Whatever has no namespace is in the module of all functions.
    return name if namespace == "functions" else f"{namespace}.{name[:1].lower()}{name[1:]}"


def _clip(text: str, most: int) -> str:
    plain = "".join(char if char.isprintable() else " " for char in text)
    return plain.encode()[:most].decode(errors="ignore")
