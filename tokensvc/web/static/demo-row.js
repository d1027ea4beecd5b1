/**
 * One upload on the page. `draw` may be called at any time and makes the row say what the upload is now.
 */

import { words } from "./demo-api.js";
import { byId, countdown, element, glyph, show, size, webAddress } from "./demo-format.js";
import { canRetry, isOver } from "./demo-queue.js";
import { Wire } from "./demo-wire.js";

/** @typedef {import("./demo-upload.js").Upload} Upload */

/** @typedef {{cancel: (u: Upload) => void, retry: (u: Upload) => void, again: (u: Upload) => void}} Actions */

const STATE_WORDS = Object.freeze({
  waiting: "Waiting",
  fetching: "Asking for a credential",
  uploading: "Uploading",
  done: "Stored",
  refused: "Refused",
  failed: "Failed",
  cancelled: "Cancelled",
});

export class Row {
  /**
   * @param {Upload} upload
   * @param {Actions} actions
   */
  constructor(upload, actions) {
    this.upload = upload;
    /** @type {HTMLElement} */
    this.root = byId("row").content.firstElementChild.cloneNode(true);
    this.find(".glyph").textContent = glyph(upload.file.name);
    this.find(".name").textContent = upload.file.name;
    this.find("progress").setAttribute("aria-label", upload.file.name);
    for (const action of /** @type {const} */ (["cancel", "retry", "again"])) {
      const button = this.find(`.${action}`);
      button.addEventListener("click", () => actions[action](upload));
      button.setAttribute("aria-label", `${button.textContent}: ${upload.file.name}`);
    }
    this.wire = new Wire(this.find(".wire"), upload);
    this.shown = "";
  }

  /**
   * @param {string} selector
   * @returns {any}
   */
  find(selector) {
    return this.root.querySelector(selector);
  }

  draw() {
    const { upload } = this;
    const progress = this.find("progress");
    progress.value = upload.sent;
    this.find(".detail").textContent = detail(upload);
    // Progress comes many times a second; all else changes only when this text does.
    const shown = [
      upload.state,
      upload.again === "idle" || upload.again === "asking" ? upload.again : "answered",
    ].join();
    if (shown !== this.shown) {
      this.shown = shown;
      this.root.dataset.state = upload.state;
      this.find(".state").textContent = STATE_WORDS[upload.state];
      progress.hidden = isOver(upload);
      this.#drawActions();
      this.#drawStored();
      this.#drawRefusal();
      this.#drawAgain();
      this.tick(Date.now() / 1000);
    }
    this.wire.draw();
  }

  /**
   * Show how long a credential that was not used up is still good for.
   * @param {number} now Unix seconds
   */
  tick(now) {
    const { expiresAt, state } = this.upload;
    const unused = expiresAt !== null && (state === "uploading" || state === "cancelled");
    this.find(".countdown").textContent = unused ? `credential expires in ${countdown(expiresAt - now)}` : "";
  }

  #drawActions() {
    const { upload } = this;
    show([
      [this.find(".cancel"), !isOver(upload)],
      [this.find(".retry"), canRetry(upload)],
      [this.find(".again"), upload.state === "done"],
    ]);
    // Not `disabled`: that would take the focus away from the button in the middle of its work.
    this.find(".again").setAttribute("aria-disabled", String(upload.again === "asking"));
  }

  #drawStored() {
    const { stored, file } = this.upload;
    const address = webAddress(stored?.url);
    const name = this.find(".name");
    const tile = this.find(".tile");
    tile.querySelector("img")?.remove();
    if (!address) {
      name.textContent = file.name;
      return;
    }
    const link = /** @type {HTMLAnchorElement} */ (
      element("a", "", stored.filePath ?? stored.name ?? file.name)
    );
    link.href = address.href;
    link.target = "_blank";
    link.rel = "noopener";
    link.dataset.testid = "file-link";
    name.replaceChildren(link);
    if (stored.fileType === "image") tile.append(thumbnail(address, file.name));
  }

  #drawRefusal() {
    const place = this.find("[data-testid=error]");
    const { refusal } = this.upload;
    place.hidden = !refusal;
    place.replaceChildren(...(refusal ? sentences(refusal) : []));
  }

  #drawAgain() {
    const { again } = this.upload;
    const place = this.find(".again-result");
    place.dataset.outcome = "";
    if (again === "idle") return place.replaceChildren();
    if (again === "asking")
      return place.replaceChildren(element("p", "hint", "Sending the same file with the same credential…"));
    const [outcome, title] = secondUse(again);
    place.dataset.outcome = outcome;
    const said =
      again.status === 200
        ? [element("p", "", "The server stored the file a second time.")]
        : sentences(words(again));
    return place.replaceChildren(element("div", `words ${outcome}`, element("p", "verdict", title), ...said));
  }
}

/**
 * What the second use came to. Only `credential.replayed` is what this page is there to show.
 * @param {import("./demo-api.js").Answer} answer
 * @returns {["good" | "bad" | "odd", string]}
 */
function secondUse({ status, code }) {
  if (status === 200) return ["bad", "Accepted twice. This must not happen."];
  if (code === "credential.replayed") return ["good", "Refused, as it should be: a credential works once."];
  if (status >= 400 && status < 500) return ["odd", "Refused, but for another reason."];
  return ["odd", "Not decided: the server did not give an answer."];
}

/**
 * The server's words: status and code, message, help.
 * @param {import("./demo-api.js").Words} refusal
 */
function sentences({ status, code, message, help }) {
  const label = [status || "", code].filter(Boolean).join(" ");
  const said = [element("p", "message", element("code", "code", label), " ", message)];
  if (help) said.push(element("p", "help", help));
  return said;
}

/** @param {Upload} upload */
function detail({ state, file, sent, stored }) {
  if (state === "uploading" && sent === 1) return "all sent, waiting for the answer";
  if (state === "uploading") return `${Math.floor(sent * 100)} % of ${size(file.size)}`;
  const facts = [size(stored?.size ?? file.size)];
  if (stored?.width && stored?.height) facts.unshift(`${stored.width} × ${stored.height}`);
  return facts.join(" · ");
}

/**
 * @param {URL} address
 * @param {string} name
 */
function thumbnail(address, name) {
  const image = new Image();
  image.alt = `The stored picture ${name}`;
  image.decoding = "async";
  image.loading = "lazy";
  image.dataset.testid = "thumbnail";
  image.addEventListener("error", () => image.remove()); // not a picture that a browser can show: the glyph stays
  image.src = address.href;
  return image;
}
