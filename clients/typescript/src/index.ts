/** Leases sessions from a Telegate broker. */

export { Client, type AcquireOptions, type ClientConfig } from "./client.js";
export { TelegateError } from "./error.js";
export { Lease } from "./lease.js";
export { type Circumstances, telegramError } from "./telegram.js";
export {
  CoolDownScope,
  CredentialForm,
  OtherSession,
  SessionState,
  type Verdict,
  VerdictAction,
} from "./gen/telegate/v1/resources.js";
export { ReleaseOutcome } from "./gen/telegate/v1/session_pool.js";
