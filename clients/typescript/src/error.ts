/** What the broker answers when it does not do what was asked. */

import { type Metadata, type ServiceError, status as Code } from "@grpc/grpc-js";

import { ErrorInfo, RequestInfo, RetryInfo } from "./gen/google/rpc/error_details.js";
import { Status } from "./gen/google/rpc/status.js";
import { milliseconds } from "./message.js";

/** Where gRPC carries the encoded google.rpc.Status. */
const DETAILS_TRAILER = "grpc-status-details-bin";

/** A call was refused or failed. Branch on `reason`, never on the message. */
export class TelegateError extends Error {
  override readonly name = "TelegateError";
  /** The gRPC code, for example `status.RESOURCE_EXHAUSTED`. */
  readonly code: Code;
  /**
   * A name of `ErrorReason` without its prefix, for example "POOL_BUSY". Empty when no broker
   * answered: the connection failed or the deadline passed.
   */
  readonly reason: string;
  /**
   * How long to wait before trying again. Not set: the broker does not expect waiting to help.
   */
  readonly retryAfterMs: number | undefined;
  /** What changes from one such error to the next, for example the pool's counts. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Finds the call in the broker's log. Empty when no broker answered. */
  readonly requestId: string;

  /** Reads the details that came with a failed call of a generated stub. */
  constructor(cause: ServiceError) {
    const details = read(cause.metadata);
    const info = find(details, "google.rpc.ErrorInfo", ErrorInfo);
    const retry = find(details, "google.rpc.RetryInfo", RetryInfo);
    const request = find(details, "google.rpc.RequestInfo", RequestInfo);
    super(`${info?.reason || Code[cause.code]}: ${cause.details}`, { cause });
    this.code = cause.code;
    this.reason = info?.reason ?? "";
    this.metadata = info?.metadata ?? {};
    this.retryAfterMs = retry?.retryDelay && milliseconds(retry.retryDelay);
    this.requestId = request?.requestId ?? "";
  }
}

function read(trailers: Metadata | undefined): Status["details"] {
  const encoded = trailers?.get(DETAILS_TRAILER)[0];
  return Buffer.isBuffer(encoded) ? Status.decode(encoded).details : [];
}

function find<Detail>(
  details: Status["details"],
  name: string,
  kind: { decode(input: Uint8Array): Detail },
): Detail | undefined {
  const packed = details.find(({ typeUrl }) => typeUrl.endsWith(`/${name}`));
  return packed && kind.decode(packed.value);
}
