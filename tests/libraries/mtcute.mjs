// Makes session strings with the real mtcute, or opens them.
//
//     mtcute.mjs FOLDER_WITH_NODE_MODULES make     prints one JSON object
//     mtcute.mjs FOLDER_WITH_NODE_MODULES open     a string per line of stdin, an object per line
//
// The keys are made up. Nothing here opens a connection: only the string's reader and writer are
// used.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, deed] = process.argv.slice(2);
const mtcute = join(folder, "node_modules/@mtcute/core");
const { readStringSession, writeStringSession } = await import(
  pathToFileURL(join(mtcute, "utils.js")),
);

function made(dc_id, ipAddress, change) {
  const key = randomBytes(256);
  const main = { id: dc_id, ipAddress, port: 443, ...change.centre };
  const media = change.media ? { ...main, mediaOnly: true } : main;
  const self = change.self ? { isPremium: false, usernames: [], ...change.self } : null;
  const string = writeStringSession({ version: 3, primaryDcs: { main, media }, self, authKey: key });
  const who = self && { user_id: self.userId, is_bot: self.isBot };
  const test = Boolean(change.centre?.testMode);
  return { string, dc_id, test, auth_key: key.toString("hex"), ...who };
}

function opened(string) {
  const { primaryDcs, self, authKey } = readStringSession(string);
  return {
    dc_id: primaryDcs.main.id,
    test: primaryDcs.main.testMode,
    address: primaryDcs.main.ipAddress,
    port: primaryDcs.main.port,
    auth_key: Buffer.from(authKey).toString("hex"),
    ...(self && { user_id: self.userId, is_bot: self.isBot }),
  };
}

if (deed === "make") {
  const sessions = [
    made(1, "149.154.175.56", {}),
    made(2, "149.154.167.50", { media: true, self: { userId: 7000000001, isBot: false } }),
    made(2, "149.154.167.40", { centre: { testMode: true }, self: { userId: 42, isBot: true } }),
    made(4, "2001:67c:4e8:f004::a", { centre: { ipv6: true }, media: true }),
    made(5, "91.108.56.156", { self: { userId: 4242, isBot: true } }),
  ];
  const { version } = JSON.parse(readFileSync(join(mtcute, "package.json"), "utf8"));
  console.log(JSON.stringify({ version, sessions }));
} else {
  for (const line of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
    console.log(JSON.stringify(opened(line)));
  }
}
