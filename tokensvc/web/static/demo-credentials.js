/**
 * Credentials for uploads that are about to start: one at a time, or in small batches when many files wait.
 *
 * A batch is for the next few files only. One that waits in a long list would grow old before its turn, so what
 * has become old in spite of that is dropped here, and a fresh one is asked for.
 */

import { batchRequest, credentialRequest, fetchCredential } from "./demo-api.js";

/** @typedef {import("./demo-api.js").Answer} Answer */
/** @typedef {import("./demo-upload.js").Exchange} Exchange */
/** @typedef {import("./demo-upload.js").Upload} Upload */

/** @typedef {{about: Omit<Exchange, "answer">, answer: Promise<Answer>, batch: boolean}} Asked */
/** @typedef {{fields: Record<string, string>, expiresAt: number | null}} Credential */

const MOST_AT_ONCE = 10;
const FEWEST_AT_ONCE = 4;

/** Seconds for which a credential must still be good when its upload starts. */
const MARGIN = 60;

export class Supply {
  /** @param {(upload: Upload) => Upload[]} following the uploads that wait for their turn after this one */
  constructor(following) {
    this.following = following;
    /** @type {WeakMap<Upload, Asked>} */
    this.kept = new WeakMap();
  }

  /**
   * Ask for a credential for one upload. If many more wait, the next few are asked for in the same request.
   * @param {Upload} upload
   * @param {AbortSignal} signal
   * @returns {Promise<Asked>}
   */
  async ask(upload, signal) {
    const kept = this.kept.get(upload);
    this.kept.delete(upload);
    if (kept && !(await isOld(upload, kept))) return kept;
    const next = this.following(upload).filter((other) => !this.kept.has(other) && isAlike(upload, other));
    const together = [upload, ...next].slice(0, MOST_AT_ONCE);
    if (together.length < FEWEST_AT_ONCE) return this.askSingly(upload, signal);
    this.#askTogether(together);
    const asked = /** @type {Asked} */ (this.kept.get(upload));
    this.kept.delete(upload);
    return asked;
  }

  /**
   * @param {Upload} upload
   * @param {AbortSignal} signal
   * @returns {Asked}
   */
  askSingly(upload, signal) {
    const request = credentialRequest(upload.version, payload(upload));
    const { method, url, body: json } = request;
    const about = { title: "Credential", method, url, json };
    return { about, answer: fetchCredential(request, signal), batch: false };
  }

  /** @param {Upload[]} uploads */
  #askTogether(uploads) {
    const request = batchRequest(uploads[0].version, uploads.map(payload));
    const { method, url, body: json } = request;
    // No signal: whoever is cancelled, the others go on.
    const whole = fetchCredential(request, new AbortController().signal);
    uploads.forEach((upload, index) => {
      const about = { title: `Credential ${index + 1} of ${uploads.length} in one request`, method, url, json };
      this.kept.set(upload, { about, answer: whole.then((answer) => itemOf(answer, index)), batch: true });
    });
  }
}

/**
 * What the answer gives, or null if it holds no credential.
 * @param {Upload} upload
 * @param {Answer} answer
 * @returns {Credential | null}
 */
export function readCredential(upload, answer) {
  const { status, body } = answer;
  if (status !== 200 || typeof body?.token !== "string") return null;
  if (upload.version === "v1") {
    const { token, expire, signature, publicKey } = body;
    const fields = { ...payload(upload), publicKey, signature, expire: String(expire), token };
    return { fields, expiresAt: Number(expire) };
  }
  // The form has to equal what was signed. A profile may have added to what we asked for: the claims decide.
  const { iat, exp, ...signed } = decodeJwt(body.token)?.claims ?? payload(upload);
  return { fields: { ...signed, token: body.token }, expiresAt: exp ?? null };
}

/**
 * Header and claims of a JWT. Read only: the browser has no key to verify with, and needs none.
 * @param {string} jwt
 * @returns {{header: any, claims: any} | null}
 */
export function decodeJwt(jwt) {
  try {
    const [header, claims] = jwt.split(".").slice(0, 2).map(decodePart);
    return { header, claims };
  } catch {
    return null;
  }
}

/** @param {Upload} upload */
function payload(upload) {
  const named = { fileName: upload.file.name, ...upload.choices };
  return upload.version === "v2" ? { useUniqueFileName: "true", ...named } : named;
}

/**
 * @param {Upload} one
 * @param {Upload} other
 */
const isAlike = (one, other) => one.version === other.version;

/**
 * @param {Upload} upload
 * @param {Asked} asked
 */
async function isOld(upload, asked) {
  const expiresAt = readCredential(upload, await asked.answer)?.expiresAt;
  return typeof expiresAt === "number" && expiresAt - Date.now() / 1000 < MARGIN;
}

/**
 * The part of a batch's answer that is about one upload.
 * @param {Answer} answer
 * @param {number} index
 * @returns {Answer}
 */
const itemOf = (answer, index) =>
  answer.status === 200 ? { ...answer, body: answer.body?.credentials?.[index] ?? null } : answer;

/** @param {string} part base64url of JSON */
function decodePart(part) {
  const binary = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(
    new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(binary, (c) => c.charCodeAt(0))),
  );
}
