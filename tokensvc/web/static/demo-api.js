/**
 * What the page says to the server, and what it hears.
 *
 * Nothing here throws on an unwelcome answer: a refusal is an answer like any other, and status 0 stands for none
 * at all. Only cancelling throws (an AbortError).
 */

/**
 * @typedef {object} Answer
 * @property {number} status HTTP status, or 0 when no answer came
 * @property {any} body the JSON of the answer, or null if it was not JSON
 * @property {string | null} code the stable slug of a refusal
 * @property {string | null} requestId
 */

/**
 * @typedef {object} Words what a refusal says, from either of its two shapes
 * @property {number} status
 * @property {string} code
 * @property {string} message
 * @property {string} help
 */

/** @typedef {"v1" | "v2"} Version */

const NO_ANSWER = Object.freeze({ status: 0, body: null, code: null, requestId: null });

export const UPLOAD_PATH = Object.freeze({ v1: "/api/v1/files/upload", v2: "/api/v2/files/upload" });

/**
 * @param {"GET" | "POST" | "DELETE"} method
 * @returns {Promise<Answer>}
 */
export function session(method) {
  const json = method === "POST" ? { headers: { "Content-Type": "application/json" }, body: "{}" } : {};
  return ask("/demo/session", { method, ...json });
}

/**
 * The request that asks for a credential. v2 signs the fields, so it has to name them; v1 signs none.
 * @param {Version} version
 * @param {Record<string, string>} fields of the upload to come
 * @returns {{method: "GET" | "POST", url: string, body?: object}}
 */
export function credentialRequest(version, fields) {
  // Some caches keep a GET whatever they are told; ImageKit's own clients add `t` for the same reason.
  if (version === "v1") return { method: "GET", url: `/auth?t=${Math.random()}` };
  return { method: "POST", url: "/auth", body: { uploadPayload: fields } };
}

/**
 * The request that asks for many at once, one for each of these forms.
 * @param {Version} version
 * @param {Record<string, string>[]} uploads fields of the uploads to come
 * @returns {{method: "POST", url: string, body: object}}
 */
export function batchRequest(version, uploads) {
  const body = version === "v1" ? { version, count: uploads.length } : { version, uploads };
  return { method: "POST", url: "/auth/batch", body };
}

/**
 * @param {{method: string, url: string, body?: object}} request
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
export function fetchCredential(request, signal) {
  const json = request.body && {
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request.body),
  };
  return ask(request.url, { method: request.method, signal, ...json });
}

/**
 * Post a form with a file. XMLHttpRequest, because fetch does not tell how much was sent.
 * @param {string} url
 * @param {Record<string, string>} fields
 * @param {File} file
 * @param {{signal: AbortSignal, onProgress?: (share: number) => void}} options `share` of the body sent, 0 to 1
 * @returns {Promise<Answer>}
 */
export function sendFile(url, fields, file, { signal, onProgress = () => {} }) {
  const form = new FormData();
  form.set("file", file, fields.fileName);
  for (const [name, text] of Object.entries(fields)) form.set(name, text);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const cancel = () => request.abort();
    request.open("POST", url);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () =>
      resolve(heard(request.status, request.responseText, (name) => request.getResponseHeader(name)));
    request.onerror = () => resolve(NO_ANSWER);
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", cancel);
    signal.addEventListener("abort", cancel);
    if (signal.aborted) reject(new DOMException("cancelled", "AbortError"));
    else request.send(form);
  });
}

/**
 * The words of an answer that is not a yes.
 * @param {Answer} answer
 * @returns {Words}
 */
export function words(answer) {
  const { status, body, code } = answer;
  if (status === 0) {
    return {
      status,
      code: "no answer",
      message: "The server did not answer.",
      help: "It may have stopped, or closed the connection before the whole file was sent. Try again.",
    };
  }
  return {
    status,
    code: code ?? "",
    message: text(body?.detail) || text(body?.message) || text(body?.title) || "The server gave no reason.",
    help: text(body?.help),
  };
}

/**
 * @param {string} url
 * @param {RequestInit} options
 * @returns {Promise<Answer>}
 */
async function ask(url, options) {
  try {
    const response = await fetch(url, {
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      ...options,
    });
    return heard(response.status, await response.text(), (name) => response.headers.get(name));
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    return NO_ANSWER;
  }
}

/**
 * @param {number} status
 * @param {string} content
 * @param {(name: string) => string | null} header
 * @returns {Answer}
 */
function heard(status, content, header) {
  let body = null;
  try {
    body = JSON.parse(content);
  } catch {
    // Every door of the server answers in JSON. A proxy between may not; its status still counts.
  }
  return {
    status,
    body,
    code: header("X-Tokensvc-Code") ?? (text(body?.code) || null),
    requestId: header("X-Request-Id") ?? (text(body?.request_id) || null),
  };
}

/** @param {unknown} value */
function text(value) {
  return typeof value === "string" ? value : "";
}
