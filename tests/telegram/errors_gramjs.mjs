// Makes the real errors of GramJS and prints what each can tell, a line each.
//
//     errors_gramjs.mjs FOLDER_WITH_NODE_MODULES ERRORS.tsv
//
// Every error of the file is handed to the library as if Telegram had answered it. A line has the
// answer (`code`, `name`) and the reports that a worker can make of the error: from its attributes,
// from its text. Nothing is sent anywhere.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, path] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const { RPCMessageToError, RPCError } = require("telegram/errors");
const { Api } = require("telegram");

const request = new Api.messages.GetStickers({ emoticon: "", hash: 0n });
const textTails = /^(APNS_VERIFY_CHECK|INTEGRITY_CHECK_CLASSIC|RECAPTCHA_CHECK)_X$/;
const dated = /^(STORY_SEND_FLOOD|PREMIUM_SUB_ACTIVE_UNTIL)/;

// What Telegram may answer for a name of the tables.
function answers(name) {
  if (textTails.test(name)) return [name.replace(/X$/, "signup__6Ldc")];
  const numbers = dated.test(name) ? ["17", "259200", "1800086400"] : ["17", "259200"];
  return [...new Set(numbers.map((n) => name.replace(/_X(?=_|$|MIN)/g, `_${n}`)))];
}

function* reports(error) {
  const argument = error.seconds ?? error.newDc ?? error.codeLength;
  const typed = error.constructor !== RPCError;
  yield ["attributes", {
    code: error.code, type: error.constructor.name, message: error.errorMessage, argument,
    method: "messages.getStickers",
  }];
  // The text names the method too.
  if (!typed || argument !== undefined) yield ["text", { message: String(error) }];
}

const lines = [];
for (const row of readFileSync(path, "utf8").trimEnd().split("\n").slice(1)) {
  const [code, name] = row.split("\t");
  // A name of which the code is not known is answered as what is commonest.
  const errorCode = Number(code || 400);
  for (const errorMessage of answers(name)) {
    const error = RPCMessageToError({ errorCode, errorMessage }, request);
    for (const [form, report] of reports(error)) {
      lines.push(JSON.stringify({ code: errorCode, name: errorMessage, form, report }));
    }
  }
}
// A pipe is written in the background: leave only when all of it is through.
process.stdout.write(`${lines.join("\n")}\n`, () => process.exit(0));
