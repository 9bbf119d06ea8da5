/** A lease that a broker granted. */

import { inspect } from "node:util";

import type {
  Credential,
  Lease as Granted,
  Session,
  TelegramError,
  Verdict,
} from "./gen/telegate/v1/resources.js";
import {
  type AcquireResponse,
  ReleaseRequest,
  type ReleaseResponse,
  RenewRequest,
  type RenewResponse,
  ReportRequest,
  type ReportResponse,
} from "./gen/telegate/v1/session_pool.js";
import { duration, milliseconds, present } from "./message.js";

/** The calls that a lease makes about itself. */
interface Calls {
  renew(request: RenewRequest): Promise<RenewResponse>;
  release(request: ReleaseRequest): Promise<ReleaseResponse>;
  report(request: ReportRequest): Promise<ReportResponse>;
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
  #verdict: Verdict | undefined;

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

  /** What to do about the last error that was reported. Nothing before the first. */
  get verdict(): Verdict | undefined {
    return this.#verdict;
  }

  /**
   * Tells the broker what Telegram answered, and learns what to do. `telegramError` reads it from
   * the error of a library.
   */
  async report(error: TelegramError): Promise<Verdict> {
    const { verdict } = await this.#calls.report(
      ReportRequest.create({ leaseId: this.id, error }),
    );
    this.#verdict = present(verdict);
    return this.#verdict;
  }

  /** Extends the lease, counted from now. Rejects with LEASE_LOST when it is over. */
  async renew(ttlMs?: number): Promise<void> {
    const request = RenewRequest.create({ leaseId: this.id });
    request.ttl = duration(ttlMs);
    const { lease } = await this.#calls.renew(request);
    this.#lease = present(lease);
  }

  /**
   * Gives the session back. Twice is OK: the outcome then says that it had ended. With the error
   * that ended the work it is `report` and `release` in one step.
   */
  async release(
    { restMs, error }: { restMs?: number; error?: TelegramError | undefined } = {},
  ): Promise<ReleaseResponse> {
    const request = ReleaseRequest.create({ leaseId: this.id });
    request.rest = duration(restMs);
    request.error = error;
    const released = await this.#calls.release(request);
    this.#verdict = released.verdict ?? this.#verdict;
    return released;
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
