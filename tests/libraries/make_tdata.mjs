// Makes tdata folders with the real @mtcute/convert, and prints as JSON what is in them.
//
//     make_tdata.mjs FOLDER_WITH_NODE_MODULES FOLDER
//
// The keys are made up. Nothing here opens a connection: only the reader and writer are used.

import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, root] = process.argv.slice(2);
const convert = join(modules, "node_modules/@mtcute/convert");
const load = (path) => import(pathToFileURL(resolve(path)));
const { Tdata } = await load(join(convert, "index.js"));
const { Long } = await load(join(modules, "node_modules/@mtcute/core/index.js"));

async function folder(name, accounts, passcode) {
  const path = join(root, name);
  mkdirSync(path, { recursive: true });
  const order = accounts.map((_, number) => number);
  const keyData = { count: accounts.length, order, active: 0 };
  const tdata = await Tdata.create({ path, passcode, keyData });
  const told = [];
  for (const [number, [userId, mainDcId]] of accounts.entries()) {
    const key = randomBytes(256);
    const authKeys = [
      { dcId: (mainDcId % 5) + 1, key: randomBytes(256) },
      { dcId: mainDcId, key },
    ];
    const authorization = { userId: Long.fromNumber(userId), mainDcId, authKeys };
    await tdata.writeMtpAuthorization({ ...authorization, authKeysToDestroy: [] }, number);
    await tdata.writeEmptyMapFile(number);
    told.push({ user_id: userId, dc_id: mainDcId, auth_key: key.toString("hex") });
  }
  return { folder: name, passcode: passcode ?? "", accounts: told };
}

const folders = [
  await folder("one/tdata", [[42, 2]]),
  await folder("two", [[4242, 1], [7000000001, 4]]),
  await folder("locked", [[77, 3]], "correct horse"),
];
const { version } = JSON.parse(readFileSync(join(convert, "package.json"), "utf8"));
console.log(JSON.stringify({ version, folders }));
