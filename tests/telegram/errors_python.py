"""Raises the real exceptions of a Python library and prints what each can tell, a line each.

    errors_python.py telethon|pyrogram|kurigram ERRORS.tsv

Every error of the file and of the library's own tables is handed to the library as if Telegram had
answered it. A line has the answer (`code`, `name`) and the reports that a worker can make of the
exception: from its attributes, from its class, from its text. Nothing is sent anywhere.
"""

import contextlib
import importlib
import json
import os
import re
import sys
import tempfile

#: Where libraries keep the number.
NUMBERS = ("seconds", "minutes", "new_dc", "dc", "which", "code_length", "value")
#: What stands for the parameter in the tables, and what Telegram may put there.
TEXT_TAILS = ("APNS_VERIFY_CHECK_", "INTEGRITY_CHECK_CLASSIC_", "RECAPTCHA_CHECK_")
METHOD = "messages.getStickers"
DATED = ("STORY_SEND_FLOOD", "PREMIUM_SUB_ACTIVE_UNTIL")


def answers(name):
    """What Telegram may answer for a name of the tables."""
    if name.startswith(TEXT_TAILS):
        return [name.removesuffix("X") + "signup__6Ldc"]
    numbers = ["17", "259200", "1800086400"] if name.startswith(DATED) else ["17", "259200"]
    return list(dict.fromkeys(re.sub(r"_X(?=_|$|MIN)", "_" + n, name) for n in numbers))


def number_of(error):
    for attribute in NUMBERS:
        value = getattr(error, attribute, None)
        if isinstance(value, int):
            return value
    return None


class Telethon:
    def __init__(self):
        self.errors = importlib.import_module("telethon.errors")
        types = importlib.import_module("telethon.tl.types")
        functions = importlib.import_module("telethon.tl.functions.messages")
        self.rpc_error = types.RpcError
        self.request = functions.GetStickersRequest("", 0)
        self.names = {cls: name for name, cls in self.errors.rpc_errors_dict.items()}
        for pattern, cls in self.errors.rpc_errors_re:
            self.names[cls] = pattern.replace("(\\d+)", "X")

    def table(self):
        return [(cls.code, name) for cls, name in self.names.items()]

    def fail(self, code, name):
        return self.errors.rpc_message_to_error(self.rpc_error(code, name), self.request)

    def reports(self, error):
        name, number = self.names.get(type(error)), number_of(error)
        told = {"code": error.code, "argument": number, "method": METHOD}
        yield "attributes", {**told, "type": name or "", "message": "" if name else error.message}
        yield "class", {**told, "type": type(error).__name__, "message": str(error)}
        if name is None or number is not None:
            yield "text", {"message": str(error), "method": METHOD}


class Pyrogram:
    """Pyrogram, and Kurigram, which goes by its name."""

    def __init__(self):
        raw = importlib.import_module("pyrogram.raw")
        self.errors = importlib.import_module("pyrogram.errors")
        tables = importlib.import_module("pyrogram.errors.exceptions.all")
        self.rpc_error = raw.types.RpcError
        self.request = raw.functions.messages.GetStickers
        self.exceptions = tables.exceptions

    def table(self):
        return [(c, name) for c, names in self.exceptions.items() for name in names if name != "_"]

    def fail(self, code, name):
        try:
            answer = self.rpc_error(error_code=code, error_message=name)
            self.errors.RPCError.raise_it(answer, self.request)
        except self.errors.RPCError as error:
            return error

    def reports(self, error):
        known = isinstance(error.ID, str)
        told = {"code": error.CODE, "argument": number_of(error), "method": METHOD}
        message = "" if known else str(error.value)
        yield "attributes", {**told, "type": error.ID or "", "message": message}
        yield "class", {**told, "type": type(error).__name__, "message": str(error)}
        # The text names the method too.
        yield "text", {"message": str(error)}


def main(library, path):
    with open(path, encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file][1:]
    # The libraries greet on import; only our lines are wanted on the output.
    with contextlib.redirect_stdout(sys.stderr):
        chosen = Telethon() if library == "telethon" else Pyrogram()
    # A name of which the code is not known is answered as what is commonest.
    known = [(int(code or 400), name) for code, name in rows]
    # Pyrogram writes what it does not know into the working folder.
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for code, name in dict.fromkeys(known + chosen.table()):
            for answer in answers(name):
                error = chosen.fail(code, answer)
                for form, report in chosen.reports(error):
                    report = {key: value for key, value in report.items() if value is not None}
                    line = {"code": code, "name": answer, "form": form, "report": report}
                    print(json.dumps(line))
        os.chdir("/")


main(*sys.argv[1:])
