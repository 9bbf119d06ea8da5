// Makes session strings with the real GramJS, or opens them.
//
//     gramjs.mjs FOLDER_WITH_NODE_MODULES make     prints one JSON object
//     gramjs.mjs FOLDER_WITH_NODE_MODULES open     a string per line of stdin, an object per line
//
// The keys are made up. Nothing here opens a connection: only the session class is used.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, deed] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const { StringSession } = require("telegram/sessions");
const { AuthKey } = require("telegram/crypto/AuthKey");

// Addresses of 13, 14 and 15 letters, and one as browsers have it.
const CENTRES = [
  [1, "149.154.175.53"],
  [2, "149.154.167.5"],
  [3, "149.154.175.100"],
  [4, "vesta.web.telegram.org"],
  [5, "91.108.56.130"],
];

async function made([dc_id, address]) {
  const key = randomBytes(256);
  const session = new StringSession("");
  session.setDC(dc_id, address, 443);
  const authKey = new AuthKey();
  await authKey.setKey(key);
  session.setAuthKey(authKey, dc_id);
  return { string: session.save(), dc_id, test: false, auth_key: key.toString("hex") };
}

async function opened(string) {
  const session = new StringSession(string);
  await session.load();
  return {
    dc_id: session.dcId,
    address: session.serverAddress,
    port: session.port,
    auth_key: session.authKey.getKey().toString("hex"),
  };
}

if (deed === "make") {
  const { version } = require("telegram/package.json");
  console.log(JSON.stringify({ version, sessions: await Promise.all(CENTRES.map(made)) }));
} else {
  for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
    console.log(JSON.stringify(await opened(line)));
  }
}
