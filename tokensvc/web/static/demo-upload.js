/**
 * One upload from credential to stored file, and the second use that has to be refused.
 *
 * A credential is fetched shortly before its upload: one that waits in a long list grows old, and one that is
 * shared is refused. If it has died all the same, the upload goes on with a new one, by itself and once.
 */

import { UPLOAD_PATH, sendFile, words } from "./demo-api.js";
import { readCredential } from "./demo-credentials.js";

/** @typedef {import("./demo-api.js").Answer} Answer */
/** @typedef {import("./demo-api.js").Words} Words */
/** @typedef {import("./demo-credentials.js").Supply} Supply */
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
 * Refusals of a credential that was never spent, so that nothing can be stored twice. "Used before" is none of them:
 * the answer of a first use may have been lost.
 */
const DEAD = new Set(["credential.expired", "credential.revoked", "credential.stale", "credential.unissued"]);

/** @param {Answer} answer */
const isDead = ({ status, code }) => status >= 400 && status < 500 && DEAD.has(code ?? "");

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
 * @param {Supply} supply
 * @param {Changed} changed called after each step
 */
export async function run(upload, supply, changed) {
  const { signal } = upload.abort;
  try {
    let answer = await attempt(upload, supply, changed);
    if (answer && isDead(answer)) answer = await attempt(upload, supply, changed);
    if (answer?.status === 200) upload.stored = answer.body;
    if (answer) settle(upload, answer);
  } catch (error) {
    // Cancelled by the user; anything else is a fault of this page and must not look like a choice.
    upload.state = signal.aborted ? "cancelled" : "failed";
    if (!signal.aborted) upload.refusal = { status: 0, code: "page", message: String(error), help: "" };
  } finally {
    changed(upload);
  }
}

/**
 * @param {Upload} upload
 * @param {Supply} supply
 * @param {Changed} changed
 * @returns {Promise<Answer | null>} null if there was no credential; then the upload is settled
 */
async function attempt(upload, supply, changed) {
  const { signal } = upload.abort;
  upload.sent = 0;
  move(upload, "fetching", changed);
  if (!(await obtainCredential(upload, supply, signal))) return null;
  move(upload, "uploading", changed);
  return send(upload, "Upload", signal, (share) => {
    upload.sent = share;
    changed(upload);
  });
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
 * @param {Upload} upload
 * @param {Supply} supply
 * @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether there is a credential now
 */
async function obtainCredential(upload, supply, signal) {
  let asked = await supply.ask(upload, signal);
  let answer = await hear(upload, asked, signal);
  // What a batch does not give, one request may: or it says in full why not.
  if (asked.batch && !readCredential(upload, answer) && answer.status < 500 && ![0, 401].includes(answer.status)) {
    asked = supply.askSingly(upload, signal);
    answer = await hear(upload, asked, signal);
  }
  const credential = readCredential(upload, answer);
  if (!credential) {
    settle(upload, answer);
    return false;
  }
  Object.assign(upload, credential);
  return true;
}

/**
 * @param {Upload} upload
 * @param {import("./demo-credentials.js").Asked} asked
 * @param {AbortSignal} signal
 */
async function hear(upload, asked, signal) {
  const exchange = note(upload, asked.about);
  exchange.answer = await asked.answer;
  signal.throwIfAborted();
  return exchange.answer;
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
