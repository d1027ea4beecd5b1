/**
 * One upload from credential to stored file, and the second use that has to be refused.
 *
 * A credential is fetched right before its upload and never before: one that waits in a list grows old,
 * and one that is shared is refused.
 */

import { UPLOAD_PATH, credentialRequest, fetchCredential, sendFile, words } from "./demo-api.js";

/** @typedef {import("./demo-api.js").Answer} Answer */
/** @typedef {import("./demo-api.js").Words} Words */
/** @typedef {"waiting" | "fetching" | "uploading" | "done" | "refused" | "failed" | "cancelled"} State */

/**
 * @typedef {object} Exchange one request and its answer, as shown under "On the wire"
 * @property {string} title
 * @property {string} method
 * @property {string} url
 * @property {object} [json] body of the request
 * @property {Record<string, string>} [form] fields of the request, the file in words
 * @property {Answer | null} answer null while it is awaited
 */

/**
 * @typedef {object} Upload
 * @property {File} file
 * @property {"v1" | "v2"} version
 * @property {Record<string, string>} choices folder and tags; absent when not chosen
 * @property {State} state
 * @property {number} sent share of the body sent, 0 to 1
 * @property {Record<string, string> | null} fields the form that was sent, credential included
 * @property {number | null} expiresAt Unix seconds; null before there is a credential
 * @property {Exchange[]} exchanges
 * @property {Words | null} refusal
 * @property {any} stored the server's answer once the file is stored
 * @property {"idle" | "asking" | Answer} again
 * @property {AbortController} abort
 */

/** @typedef {(upload: Upload) => void} Changed */

/**
 * @param {File} file
 * @param {"v1" | "v2"} version
 * @param {Record<string, string>} choices
 * @returns {Upload}
 */
export function newUpload(file, version, choices) {
  return { file, version, choices, ...fresh() };
}

/**
 * Put an upload back to the start. Its next run fetches a new credential.
 * @param {Upload} upload
 */
export function reset(upload) {
  Object.assign(upload, fresh());
}

/** @returns {Omit<Upload, "file" | "version" | "choices">} */
function fresh() {
  return {
    state: "waiting",
    sent: 0,
    fields: null,
    expiresAt: null,
    exchanges: [],
    refusal: null,
    stored: null,
    again: "idle",
    abort: new AbortController(),
  };
}

/**
 * Fetch a credential and upload with it. Ends in one of the four last states; never throws.
 * @param {Upload} upload
 * @param {Changed} changed called after each step
 */
export async function run(upload, changed) {
  const { signal } = upload.abort;
  try {
    move(upload, "fetching", changed);
    if (!(await obtainCredential(upload, signal))) return;
    move(upload, "uploading", changed);
    const answer = await send(upload, "Upload", signal, (share) => {
      upload.sent = share;
      changed(upload);
    });
    if (answer.status === 200) upload.stored = answer.body;
    settle(upload, answer);
  } catch (error) {
    // Cancelled by the user; anything else is a fault of this page and must not look like a choice.
    upload.state = signal.aborted ? "cancelled" : "failed";
    if (!signal.aborted) upload.refusal = { status: 0, code: "page", message: String(error), help: "" };
  } finally {
    changed(upload);
  }
}

/**
 * Send the same form with the same credential a second time. A refusal is what ought to come.
 * @param {Upload} upload
 * @param {Changed} changed
 */
export async function useAgain(upload, changed) {
  if (upload.again === "asking") return;
  upload.again = "asking";
  changed(upload);
  upload.again = await send(upload, "The same credential again", new AbortController().signal);
  changed(upload);
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

/**
 * @param {Upload} upload
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether there is a credential now
 */
async function obtainCredential(upload, signal) {
  const named = { fileName: upload.file.name, ...upload.choices };
  const payload = upload.version === "v2" ? { useUniqueFileName: "true", ...named } : named;
  const request = credentialRequest(upload.version, payload);
  const exchange = note(upload, {
    title: "Credential",
    method: request.method,
    url: request.url,
    json: request.body,
  });
  exchange.answer = await fetchCredential(request, signal);
  const { status, body } = exchange.answer;
  if (status !== 200 || typeof body?.token !== "string") {
    settle(upload, exchange.answer);
    return false;
  }
  if (upload.version === "v1") {
    const { token, expire, signature, publicKey } = body;
    upload.fields = { ...named, publicKey, signature, expire: String(expire), token };
    upload.expiresAt = Number(expire);
  } else {
    // The form has to equal what was signed. A profile may have added to what we asked for: the claims decide.
    const { iat, exp, ...signed } = decodeJwt(body.token)?.claims ?? payload;
    upload.fields = { ...signed, token: body.token };
    upload.expiresAt = exp ?? null;
  }
  return true;
}

/**
 * @param {Upload} upload
 * @param {string} title
 * @param {AbortSignal} signal
 * @param {(share: number) => void} [onProgress]
 */
async function send(upload, title, signal, onProgress) {
  const { file, version } = upload;
  const fields = upload.fields ?? {};
  const form = { file: `(${file.name}, ${file.size} bytes)`, ...fields };
  const exchange = note(upload, { title, method: "POST", url: UPLOAD_PATH[version], form });
  exchange.answer = await sendFile(UPLOAD_PATH[version], fields, file, { signal, onProgress });
  return exchange.answer;
}

/**
 * @param {Upload} upload
 * @param {Omit<Exchange, "answer">} request
 * @returns {Exchange}
 */
function note(upload, request) {
  const exchange = { ...request, answer: null };
  upload.exchanges.push(exchange);
  return exchange;
}

/**
 * A 4xx was decided by the server (refused); everything else just did not work (failed).
 * @param {Upload} upload
 * @param {Answer} answer
 */
function settle(upload, answer) {
  if (upload.stored) {
    upload.state = "done";
    upload.sent = 1;
    return;
  }
  upload.refusal = words(answer);
  upload.state = answer.status >= 400 && answer.status < 500 ? "refused" : "failed";
}

/**
 * @param {Upload} upload
 * @param {State} state
 * @param {Changed} changed
 */
function move(upload, state, changed) {
  upload.state = state;
  changed(upload);
}

/** @param {string} part base64url of JSON */
function decodePart(part) {
  const binary = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
  return JSON.parse(
    new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(binary, (c) => c.charCodeAt(0))),
  );
}
