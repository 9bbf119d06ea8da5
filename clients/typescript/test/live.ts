/** Plays a worker against a live broker: TELEGATE_ADDRESS, TELEGATE_KEY, TELEGATE_POOL. */

import { isDeepStrictEqual, inspect } from "node:util";

import { status as Code } from "@grpc/grpc-js";

import {
  Client,
  type ClientConfig,
  Lease,
  OtherSession,
  ReleaseOutcome,
  SessionState,
  TelegateError,
  VerdictAction,
  telegramError,
} from "../src/index.js";

/** The largest pool that is emptied before the test calls it endless. */
const MAX_SESSIONS = 64;

let passed = 0;
let failed = 0;

function check(sentence: string, got: unknown, wanted: unknown): void {
  if (isDeepStrictEqual(got, wanted)) {
    passed += 1;
    return;
  }
  failed += 1;
  console.log(`FAILED: ${sentence}: got ${inspect(got)}, wanted ${inspect(wanted)}`);
}

/** The error that the call must end with. */
async function refusal(call: Promise<Lease | void>): Promise<TelegateError> {
  try {
    const granted = await call;
    await granted?.release();
  } catch (error) {
    if (error instanceof TelegateError) {
      return error;
    }
    throw error;
  }
  throw new Error("the call went through");
}

async function missingAndWrongKeysAreRefused(address: string, pool: string): Promise<void> {
  using keyless = new Client({ address, pool });
  const missing = await refusal(keyless.acquire());
  console.log(`without key: ${Code[missing.code]} ${missing.reason}`, missing.metadata);
  check("no key: the code", missing.code, Code.UNAUTHENTICATED);
  check("no key: the reason", missing.reason, "API_KEY_MISSING");
  check("no key: the header to send", missing.metadata["header"], "x-api-key");
  check("no key: waiting does not help", missing.retryAfterMs, undefined);
  check("no key: the request has an id", missing.requestId !== "", true);

  using wrong = new Client({ address, pool, key: "tg_wrong" });
  const invalid = await refusal(wrong.acquire());
  check("wrong key: the code", invalid.code, Code.PERMISSION_DENIED);
  check("wrong key: the reason", invalid.reason, "API_KEY_INVALID");
}

async function aPoolLendsEachSessionOnce(client: Client): Promise<void> {
  const free = (await client.status()).counts?.free;
  const leases: Lease[] = [];
  try {
    const error = await acquireUntilRefused(client, leases);
    eachIsAnother(leases);
    check("every free session was lent", leases.length, free);
    tellsWhenToRetry(error, client.pool, leases.length);
    const first = leases[0];
    if (!first) {
      throw new Error("no session to lend");
    }
    await renewAndRelease(first);
  } finally {
    // Also when the run fails: what is not released stays leased for the next run.
    for (const ended of await Promise.allSettled(leases.map((lease) => lease.release()))) {
      if (ended.status === "rejected") {
        check("released in the end", ended.reason, undefined);
      }
    }
  }
  check("all sessions are free again", (await client.status()).counts?.free, free);
}

async function acquireUntilRefused(client: Client, leases: Lease[]): Promise<TelegateError> {
  while (leases.length < MAX_SESSIONS) {
    try {
      leases.push(await client.acquire({ ttlMs: 60_000 }));
    } catch (error) {
      if (error instanceof TelegateError) {
        return error;
      }
      throw error;
    }
  }
  throw new Error(`more than ${MAX_SESSIONS} leases`);
}

function eachIsAnother(leases: Lease[]): void {
  const names = leases.map((lease) => lease.session.name);
  console.log(`acquired: ${names.join(", ")}`);
  check("none was lent twice", new Set(names).size, leases.length);
  check("no lease id came twice", new Set(leases.map(({ id }) => id)).size, leases.length);
  for (const lease of leases) {
    const { value } = lease.credential;
    const length = value?.$case === "telegram" ? value.value.authKey.length : 0;
    check("a credential came with it", length, 256);
    check("the epoch is set", lease.epoch > 0n, true);
    const printed = `${inspect(lease)} ${JSON.stringify(lease)} ${lease}`;
    check("printing hides the lease id", printed.includes(lease.id), false);
  }
}

function tellsWhenToRetry(error: TelegateError, pool: string, leased: number): void {
  console.log(`then: ${Code[error.code]} ${error.reason}, retry after ${error.retryAfterMs} ms`);
  console.log(`      ${JSON.stringify(error.metadata)}`);
  check("busy: the code", error.code, Code.RESOURCE_EXHAUSTED);
  check("busy: the reason", error.reason, "POOL_BUSY");
  check("busy: the pool", error.metadata["pool"], pool);
  check("busy: none is free", error.metadata["free"], "0");
  check("busy: all are leased", error.metadata["leased"], `${leased}`);
  check("busy: the soonest end is told", "next_release_in" in error.metadata, true);
  const retryAfterMs = error.retryAfterMs ?? 0;
  check("busy: waiting helps", 0 < retryAfterMs && retryAfterMs < 90_000, true);
  check("busy: the request has an id", error.requestId !== "", true);
}

async function renewAndRelease(lease: Lease): Promise<void> {
  const before = lease.expireTime;
  await lease.renew(120_000);
  console.log(`renewed: ${lease} for ${lease.ttlMs} ms`);
  check("renewed: the TTL is as wished", lease.ttlMs, 120_000);
  const moved = lease.expireTime.getTime() - before.getTime();
  check("renewed: the end has moved", moved > 30_000, true);

  const first = (await lease.release()).outcome;
  const second = (await lease.release()).outcome;
  console.log(`released: ${ReleaseOutcome[first]}, again: ${ReleaseOutcome[second]}`);
  check("released", first, ReleaseOutcome.RELEASE_OUTCOME_RELEASED);
  check("released twice is OK", second, ReleaseOutcome.RELEASE_OUTCOME_ALREADY_ENDED);
  const lost = await refusal(lease.renew());
  check("a released lease is lost", lost.reason, "LEASE_LOST");
  check("a lost lease is over for good", lost.retryAfterMs, undefined);
}

async function aBlockReleasesItsLease(client: Client): Promise<void> {
  const free = (await client.status()).counts?.free ?? 0;
  {
    await using lease = await client.acquire();
    const left = (await client.status()).counts?.free;
    check(`inside the block ${lease} is held`, left, free - 1);
  }
  check("after the block it is free", (await client.status()).counts?.free, free);
}

/** An error as GramJS makes it, of which the class and the fields are read. */
class SlowModeWaitError extends Error {
  readonly code = 420;
  readonly errorMessage = "FLOOD";
  constructor(readonly seconds: number) {
    super(`A wait of ${seconds} seconds is required (caused by messages.SendMessage)`);
  }
}

async function anErrorClosesTheChatForItsSession(client: Client): Promise<void> {
  const peer = "channel:ts";
  check("other errors are nobody's", telegramError(new Error("420 FLOOD_WAIT_30")), undefined);
  const wrapped = telegramError(new Error("the job failed", { cause: new SlowModeWaitError(30) }));
  check("a cause is read", [wrapped?.type, wrapped?.argument], ["SlowModeWaitError", 30n]);
  const leases: Lease[] = [];
  const work = client.lend({ methods: ["messages.sendMessage"], peer }, async (lease) => {
    leases.push(lease);
    const told = telegramError(new SlowModeWaitError(30), { peer });
    const verdict = told && (await lease.report(told));
    check("the verdict in the work", [verdict?.rule, verdict?.subject], ["W3", peer]);
    throw new SlowModeWaitError(30);
  });
  const ended = await work.catch((error: unknown) => error);
  check("the error goes on", ended instanceof SlowModeWaitError, true);
  const lease = leases[0];
  const verdict = lease?.verdict;
  console.log(`verdict: ${verdict?.rule} ${verdict?.subject} until ${verdict?.until}`);
  check("the rule and the subject", [verdict?.rule, verdict?.subject], ["W3", peer]);
  check("the action", verdict?.action, VerdictAction.VERDICT_ACTION_COOL_DOWN);
  check("another would help", verdict?.otherSession, OtherSession.OTHER_SESSION_YES);
  check("it was LEASED", verdict?.sessionState, SessionState.SESSION_STATE_LEASED);
  const session = lease?.session.name ?? "";
  const refused = await refusal(client.acquire({ session, peer }));
  check("it cools down: the reason", refused.reason, "POOL_FLOOD_WAIT");
  check("it cools down: waiting helps", refused.retryAfterMs !== undefined, true);
}

async function main(): Promise<void> {
  const address = process.env["TELEGATE_ADDRESS"] ?? "";
  const pool = process.env["TELEGATE_POOL"] ?? "demo";
  const key = process.env["TELEGATE_KEY"] ?? "";
  const config: ClientConfig = { address, pool, key };
  try {
    await missingAndWrongKeysAreRefused(address, pool);
    using client = new Client(config);
    await aPoolLendsEachSessionOnce(client);
    await aBlockReleasesItsLease(client);
    await anErrorClosesTheChatForItsSession(client);
  } catch (error) {
    check(`the run ends well (${String(error)})`, false, true);
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed > 0 ? 1 : 0;
}

await main();
