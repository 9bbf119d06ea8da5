/** A lease that a broker granted. */

import { inspect } from "node:util";

import type {
  Credential,
  Lease as Granted,
  Session,
  TelegramError,
} from "./gen/telegate/v1/resources.js";
import {
  type AcquireResponse,
  ReleaseRequest,
  type ReleaseResponse,
  RenewRequest,
  type RenewResponse,
} from "./gen/telegate/v1/session_pool.js";
import { duration, milliseconds, present } from "./message.js";

/** The calls that a lease makes about itself. */
interface Calls {
  renew(request: RenewRequest): Promise<RenewResponse>;
  release(request: ReleaseRequest): Promise<ReleaseResponse>;
}

/**
 * The exclusive right to one session until `expireTime`.
 *
 * `await using` releases it at the end of the block: disconnect from Telegram before. Nothing
 * renews it by itself. Printing it shows no secret.
 */
export class Lease implements AsyncDisposable {
  readonly #calls: Calls;
  readonly #session: Session;
  readonly #credential: Credential;
  #lease: Granted;

  /** Made by `Client.acquire`. */
  constructor(granted: AcquireResponse, calls: Calls) {
    this.#calls = calls;
    this.#lease = present(granted.lease);
    this.#session = present(granted.session);
    this.#credential = present(granted.credential);
  }

  /** The lease's secret name. Never log it. */
  get id(): string {
    return this.#lease.leaseId;
  }

  /** The fencing number: rises with every lease of the session. */
  get epoch(): bigint {
    return this.#lease.epoch;
  }

  /** The TTL that was granted; where clocks may differ, count it from before the call. */
  get ttlMs(): number {
    return milliseconds(present(this.#lease.ttl));
  }

  /** When the lease ends unless it is renewed, by the broker's clock. */
  get expireTime(): Date {
    return present(this.#lease.expireTime);
  }

  /** The session, with its running cool-downs, proxy and device profile. */
  get session(): Session {
    return this.#session;
  }

  /** The secret, in the form that was asked for. */
  get credential(): Credential {
    return this.#credential;
  }

  /** Extends the lease, counted from now. Rejects with LEASE_LOST when it is over. */
  async renew(ttlMs?: number): Promise<void> {
    const request = RenewRequest.create({ leaseId: this.id });
    request.ttl = duration(ttlMs);
    const { lease } = await this.#calls.renew(request);
    this.#lease = present(lease);
  }

  /** Gives the session back. Twice is OK: the outcome then says that it had ended. */
  async release(
    { restMs, error }: { restMs?: number; error?: TelegramError } = {},
  ): Promise<ReleaseResponse> {
    const request = ReleaseRequest.create({ leaseId: this.id });
    request.rest = duration(restMs);
    request.error = error;
    return this.#calls.release(request);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  toString(): string {
    return `Lease(${this.#session.pool}/${this.#session.name}, epoch ${this.epoch})`;
  }

  [inspect.custom](): string {
    return this.toString();
  }
}
