/** What the generated messages leave to be done. */

import type { Duration } from "./gen/google/protobuf/duration.js";

/** The message form of a time; parts of a millisecond, which the broker refuses, are dropped. */
export function duration(ms: number | undefined): Duration | undefined {
  if (ms === undefined) {
    return undefined;
  }
  const seconds = Math.trunc(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.trunc(ms - seconds * 1000) * 1_000_000 };
}

/** The time that a message form says. */
export function milliseconds({ seconds, nanos }: Duration): number {
  return Number(seconds) * 1000 + nanos / 1e6;
}

/** A message that the broker always sends. */
export function present<Message>(message: Message | undefined): Message {
  if (message === undefined) {
    throw new Error("the broker left out a message that its contract promises");
  }
  return message;
}
