/**
 * The list of uploads: a few run at a time, the rest wait. Also what the whole list adds up to.
 */

import { Supply } from "./demo-credentials.js";
import { reset, run } from "./demo-upload.js";

/** @typedef {import("./demo-upload.js").Upload} Upload */

const AT_A_TIME = 3;

/** Speed is taken over this many milliseconds, so that it neither jumps nor lags. */
const SPEED_OVER = 3000;

const NOT_STORED = new Set(["refused", "failed", "cancelled"]);

/** @param {Upload} upload */
export const isOver = (upload) => upload.state === "done" || NOT_STORED.has(upload.state);

/** @param {Upload} upload */
export const canRetry = (upload) => NOT_STORED.has(upload.state);

export class Queue {
  /** @param {(upload: Upload) => void} changed called whenever an upload is not as it was */
  constructor(changed) {
    this.changed = changed;
    /** @type {Upload[]} */
    this.uploads = [];
    this.running = 0;
    this.supply = new Supply((upload) =>
      this.uploads.filter((other) => other !== upload && other.state === "waiting"),
    );
  }

  /** @param {Upload[]} uploads */
  add(uploads) {
    this.uploads.push(...uploads);
    uploads.forEach(this.changed);
    this.#start();
  }

  /** @param {Upload} upload */
  retry(upload) {
    if (!canRetry(upload)) return;
    reset(upload);
    this.changed(upload);
    this.#start();
  }

  /** @param {Upload} upload */
  cancel(upload) {
    if (isOver(upload)) return;
    upload.abort.abort();
    if (upload.state !== "waiting") return; // a running one ends by itself
    upload.state = "cancelled";
    this.changed(upload);
  }

  /** Forget the uploads that are over, and return them. */
  clear() {
    const over = this.uploads.filter(isOver);
    this.uploads = this.uploads.filter((upload) => !isOver(upload));
    return over;
  }

  #start() {
    for (const upload of this.uploads) {
      if (this.running >= AT_A_TIME) return;
      if (upload.state === "waiting") this.#run(upload);
    }
  }

  /** @param {Upload} upload */
  async #run(upload) {
    this.running += 1;
    await run(upload, this.supply, this.changed);
    this.running -= 1;
    this.#start();
  }
}

/**
 * What a list adds up to, in files and bytes. Files that will not be stored do not count as bytes to send.
 * @param {Upload[]} uploads
 */
export function sum(uploads) {
  const all = { files: uploads.length, stored: 0, unstored: 0, running: 0, sentBytes: 0, bytes: 0 };
  for (const upload of uploads) {
    if (canRetry(upload)) {
      all.unstored += 1;
      continue;
    }
    if (upload.state === "done") all.stored += 1;
    else all.running += 1;
    all.bytes += upload.file.size;
    all.sentBytes += upload.file.size * upload.sent;
  }
  return all;
}

/** Bytes a second over the last few seconds. */
export class Speed {
  /** @type {{at: number, bytes: number}[]} */
  #samples = [];

  /**
   * @param {number} at milliseconds, of a clock that does not jump
   * @param {number} bytes sent so far
   * @returns {number} bytes a second
   */
  sample(at, bytes) {
    // Fewer bytes than before: an upload was given up, or the list was cleared.
    if (bytes < (this.#samples.at(-1)?.bytes ?? 0)) this.#samples = [];
    this.#samples.push({ at, bytes });
    while (this.#samples.length > 2 && at - this.#samples[0].at > SPEED_OVER) this.#samples.shift();
    const [first] = this.#samples;
    const elapsed = at - first.at;
    return elapsed > 0 ? ((bytes - first.bytes) / elapsed) * 1000 : 0;
  }
}
