/** The headers in the canonical string, in its order. A header that is absent counts as empty. */
const SIGNED_HEADERS = [
  ["content-type", /^[\x20-\x7e]{0,200}$/],
  ["x-api-key", /^[\w-]{1,64}$/],
  ["x-timestamp", /^\d{10}$/],
  ["x-nonce", /^[\w-]{22,64}$/],
  ["idempotency-key", /^[\x21-\x7e]{0,200}$/],
  ["x-tenant", /^[\x21-\x7e]{0,200}$/],
  ["x-deadline-ms", /^\d{0,9}$/],
] as const;
const METHOD = /^[A-Z]{1,16}$/;
const PATH = /^\/[\x21-\x7e]{0,2000}$/;
const QUERY = /^[\x21-\x7e]{0,8000}$/;
const UTF8 = new TextEncoder();

/** A request as it goes over the wire: nothing is decoded, ordered or written anew. */
export interface Unsigned {
  method: string;
  path: string;
  /** Without the question mark. */
  query: string;
  headers: Record<string, string>;
  body: string;
}

/** An id of a key, its secret, and the server's `security.audience`. */
export interface Key {
  key: string;
  secret: string;
  audience: string;
}

/**
 * The headers that prove a request: HMAC-SHA256 of its canonical string, as docs/security.md has it.
 *
 * @param wall seconds since 1970
 * @param nonce unique among the key's requests: 22 to 64 letters, digits, `-`, `_`
 * @throws TypeError a part cannot be signed
 */
export async function sign(key: Key, request: Unsigned, wall: number, nonce: string): Promise<Record<string, string>> {
  const own = { "x-api-key": key.key, "x-timestamp": timestamp(wall), "x-nonce": nonce };
  const imported = await crypto.subtle.importKey("raw", UTF8.encode(key.secret), { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  const text = await canonical(key.audience, { ...request, headers: { ...request.headers, ...own } });
  const signature = await crypto.subtle.sign("HMAC", imported, UTF8.encode(text));
  return { ...own, "x-signature": hex(signature) };
}

/** The text that is signed. */
export async function canonical(audience: string, request: Unsigned): Promise<string> {
  const sent = new Map(Object.entries(request.headers).map(([name, value]) => [name.toLowerCase(), value]));
  const headers = SIGNED_HEADERS.map(([name, shape]) => checked(name, sent.get(name) ?? "", shape));
  return [
    "LPOOL-HMAC-SHA256-V1",
    checked("audience", audience, /^[^\n]*$/),
    checked("method", request.method, METHOD),
    checked("path", request.path, PATH),
    checked("query", request.query, QUERY),
    ...headers,
    hex(await crypto.subtle.digest("SHA-256", UTF8.encode(request.body))),
  ].join("\n");
}

/** 24 random bytes in base64url: a nonce, or the id of a request. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/** Ten digits; half a second goes to the even one, as IEEE 754 rounds. */
function timestamp(wall: number): string {
  const floor = Math.floor(wall);
  const rounded = wall - floor === 0.5 ? floor + (floor % 2) : Math.round(wall);
  return String(rounded).padStart(10, "0");
}

function checked(name: string, value: string, shape: RegExp): string {
  if (!shape.test(value)) throw new TypeError(`${name}: it cannot be signed`);
  return value;
}

function hex(buffer: ArrayBuffer): string {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
