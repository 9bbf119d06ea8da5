/** A client of one pool of a broker. */

import {
  type CallOptions,
  type ChannelCredentials,
  type ClientUnaryCall,
  Metadata,
  type ServiceError,
  credentials,
} from "@grpc/grpc-js";

import { TelegateError } from "./error.js";
import type { PoolStatus } from "./gen/telegate/v1/resources.js";
import {
  AcquireRequest,
  GetPoolStatusRequest,
  SessionPoolClient,
} from "./gen/telegate/v1/session_pool.js";
import { Lease } from "./lease.js";
import { duration, present } from "./message.js";
import { telegramError } from "./telegram.js";

/** How long a call may take, besides the wait that it asks for. */
const CALL_TIMEOUT_MS = 10_000;

/** Which pool of which broker to use. */
export interface ClientConfig {
  /** The broker's "host:port". */
  address: string;
  /** The pool's name. */
  pool: string;
  /** The API key; not set for a broker that runs without keys. */
  key?: string;
  /**
   * How the connection is secured. Not set: plaintext, which is for loopback and for networks
   * that encrypt by themselves, since the API key and the credentials travel on it.
   */
  channelCredentials?: ChannelCredentials;
}

/** What an acquire may ask for. The fields are those of `telegate.v1.AcquireRequest`. */
export interface AcquireOptions
  extends Partial<Omit<AcquireRequest, "pool" | "ttl" | "wait">> {
  /** How long the lease should live; the broker clamps it to the pool's range. */
  ttlMs?: number;
  /** How long the broker may hold the call until a session is free. */
  waitMs?: number;
}

/** A method of a generated stub. */
type UnaryCall<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** Leases sessions of one pool. Connects lazily. */
export class Client implements Disposable {
  readonly pool: string;
  readonly #stub: SessionPoolClient;
  readonly #metadata = new Metadata();

  constructor(config: ClientConfig) {
    this.pool = config.pool;
    const channel = config.channelCredentials ?? credentials.createInsecure();
    this.#stub = new SessionPoolClient(config.address, channel);
    if (config.key) {
      this.#metadata.set("x-api-key", config.key);
    }
  }

  /** Leases a session. Rejects with a TelegateError, for example with reason POOL_BUSY. */
  async acquire({ ttlMs, waitMs, ...wishes }: AcquireOptions = {}): Promise<Lease> {
    const request = AcquireRequest.fromPartial({ ...wishes, pool: this.pool });
    request.ttl = duration(ttlMs);
    request.wait = duration(waitMs);
    const timeoutMs = CALL_TIMEOUT_MS + (waitMs ?? 0);
    return new Lease(await this.#call(this.#stub.acquire, request, timeoutMs), {
      renew: (renewal) => this.#call(this.#stub.renew, renewal),
      release: (release) => this.#call(this.#stub.release, release),
      report: (report) => this.#call(this.#stub.report, report),
    });
  }

  /**
   * Leases a session for some work and gives it back afterwards. An error of a Telegram library
   * that ends the work is reported with the release, as one about the `peer` and the only one of
   * the `methods`, and goes on; `lease.verdict` then says what it means.
   */
  async lend<Done>(options: AcquireOptions, work: (lease: Lease) => Promise<Done>): Promise<Done> {
    const lease = await this.acquire(options);
    const { methods = [], peer } = options;
    const method = methods.length === 1 ? methods[0] : undefined;
    let done: Done;
    try {
      done = await work(lease);
    } catch (error) {
      // The error that ended the work says more than the failure to clean up after it.
      const told = telegramError(error, { method, peer });
      await lease.release({ error: told }).catch(() => undefined);
      throw error;
    }
    await lease.release();
    return done;
  }

  /** Counts the pool's sessions by state. */
  async status(): Promise<PoolStatus> {
    const request = GetPoolStatusRequest.create({ pool: this.pool });
    const { status } = await this.#call(this.#stub.getPoolStatus, request);
    return present(status);
  }

  /** Closes the connection. Releases nothing. */
  close(): void {
    this.#stub.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #call<Request, Response>(
    method: UnaryCall<Request, Response>,
    request: Request,
    timeoutMs = CALL_TIMEOUT_MS,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + timeoutMs };
      method.call(this.#stub, request, this.#metadata, options, (error, response) => {
        if (error) {
          reject(new TelegateError(error));
        } else {
          resolve(response);
        }
      });
    });
  }
}
