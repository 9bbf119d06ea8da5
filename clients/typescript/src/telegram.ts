/** Reads the errors of Telegram libraries, without importing any of them. */

import { TelegramError } from "./gen/telegate/v1/resources.js";

/** What the broker takes, in bytes. */
const MAX_TYPE = 256;
const MAX_MESSAGE = 1024;
const MAX_SUBJECT = 128;
/** How far causes are followed. */
const MAX_DEPTH = 8;

/** What the worker knows of an error besides what it says itself. */
export interface Circumstances {
  /** The method that was called; read from the error where it knows it. */
  method?: string | undefined;
  /** Any stable text for the chat or user that it was about. */
  peer?: string | undefined;
}

/**
 * What Telegram said, as far as an error of GramJS, mtcute or grammY, or one of its causes, tells
 * it. Nothing when none of them is one.
 */
export function telegramError(
  error: unknown,
  { method, peer }: Circumstances = {},
): TelegramError | undefined {
  let following = error;
  for (let depth = 0; depth < MAX_DEPTH && following instanceof Error; depth += 1) {
    const told = gramjs(following) ?? mtcute(following) ?? grammy(following);
    if (told) {
      return TelegramError.fromPartial({
        ...told,
        type: clip(told.type ?? "", MAX_TYPE),
        message: clip(told.message ?? "", MAX_MESSAGE),
        method: clip(method ?? told.method ?? "", MAX_SUBJECT),
        peer: clip(peer ?? "", MAX_SUBJECT),
      });
    }
    following = following.cause;
  }
  return undefined;
}

type Told = Partial<TelegramError>;
type Fields = Readonly<Record<string, unknown>>;

/** RPCError and its classes: the name is the class, the text names the method. */
function gramjs(error: Error): Told | undefined {
  const { code, errorMessage, seconds, newDc, codeLength } = error as unknown as Fields;
  if (typeof errorMessage !== "string") {
    return undefined;
  }
  return {
    library: "gramjs",
    code: whole(code) ?? 0,
    type: error.constructor.name,
    message: error.message,
    argument: argument(seconds ?? newDc ?? codeLength),
  };
}

/** RpcError: `text` is the name, with `%d` in the place of its number. */
function mtcute(error: Error): Told | undefined {
  const { code, text, seconds, newDc, days } = error as unknown as Fields;
  if (typeof text !== "string" || whole(code) === undefined) {
    return undefined;
  }
  const number = argument(seconds ?? newDc ?? days);
  return { library: "mtcute", code: whole(code) ?? 0, type: text, argument: number };
}

/** GrammyError, of the Bot API. */
function grammy(error: Error): Told | undefined {
  const { error_code: code, description, method, parameters } = error as unknown as Fields;
  if (typeof description !== "string" || whole(code) === undefined) {
    return undefined;
  }
  const after = (parameters as Fields | undefined)?.["retry_after"];
  return {
    library: "grammy",
    code: whole(code) ?? 0,
    message: description,
    argument: argument(after),
    method: typeof method === "string" ? method : "",
  };
}

function whole(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) ? value : undefined;
}

function argument(value: unknown): bigint | undefined {
  const number = whole(value);
  return number === undefined ? undefined : BigInt(number);
}

/** A text without control characters, cut where it is too long. */
function clip(text: string, most: number): string {
  const plain = text.replace(/\p{Cc}/gu, " ");
  const bytes = Buffer.from(plain);
  // A character that was cut in two is left out.
  return bytes.length <= most ? plain : bytes.subarray(0, most).toString().replace(/\uFFFD+$/, "");
}
