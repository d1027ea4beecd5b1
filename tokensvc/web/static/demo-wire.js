/**
 * The "On the wire" panel of one upload: every request and answer, as they were.
 *
 * It is built when it is opened and not before: a thousand files would otherwise be a hundred thousand elements.
 */

import { element } from "./demo-format.js";
import { decodeJwt } from "./demo-credentials.js";

/** @typedef {import("./demo-upload.js").Exchange} Exchange */

export class Wire {
  /**
   * @param {HTMLDetailsElement} panel
   * @param {import("./demo-upload.js").Upload} upload
   */
  constructor(panel, upload) {
    this.panel = panel;
    this.upload = upload;
    this.shown = "";
    /** @type {Exchange[]} */
    this.drawn = [];
    panel.addEventListener("toggle", () => this.draw());
  }

  draw() {
    if (!this.panel.open) return;
    const { exchanges } = this.upload;
    const shown = exchanges.map(({ title, answer }) => title + (answer?.status ?? "…")).join();
    if (shown === this.shown && exchanges === this.drawn) return; // nothing new was said
    this.shown = shown;
    this.drawn = exchanges; // a retry starts a new list
    const body = /** @type {HTMLElement} */ (this.panel.querySelector(".wire-body"));
    body.replaceChildren(
      ...(exchanges.length ? exchanges.map(section) : [element("p", "hint", "Nothing was said yet.")]),
    );
  }
}

/**
 * @param {Exchange} exchange
 * @param {number} index
 */
function section(exchange, index) {
  const made = element("section", "exchange", element("h3", "", `${index + 1}. ${exchange.title}`));
  made.append(line(element("code", "", `${exchange.method} ${exchange.url}`)));
  if (exchange.json) made.append(block("Request", exchange.json));
  if (exchange.form) made.append(fields(exchange.form));
  const { answer } = exchange;
  if (!answer?.status) {
    made.append(element("p", "hint", answer ? "No answer came." : "Waiting for the answer…"));
    return made;
  }
  const status = element("code", answer.status < 400 ? "status good" : "status bad", String(answer.status));
  const about = [answer.code, answer.requestId && `request ${answer.requestId}`].filter(Boolean).join(" · ");
  made.append(line(element("span", "label", "Answer"), " ", status, " ", element("span", "hint", about)));
  made.append(
    answer.body === null ? element("p", "hint", "The body was not JSON.") : pre("Answer", answer.body),
  );
  made.append(...jwt(answer.body?.token));
  return made;
}

/**
 * Header and claims of a v2 token; nothing for a v1 token, which has no inside.
 * @param {unknown} token
 */
function jwt(token) {
  const decoded = typeof token === "string" ? decodeJwt(token) : null;
  if (!decoded) return [];
  const { iat, exp } = decoded.claims;
  const made = element(
    "div",
    "jwt",
    block("Header of the token", decoded.header),
    block("Claims", decoded.claims),
  );
  if (Number.isInteger(iat) && Number.isInteger(exp)) {
    const until = new Date(exp * 1000).toLocaleTimeString();
    made.append(
      element(
        "p",
        "hint",
        `Good for ${exp - iat} seconds, until ${until}. Decoded, not verified: the key is on the server.`,
      ),
    );
  }
  return [made];
}

/** @param {Record<string, string>} form */
function fields(form) {
  const list = element("dl", "fields");
  for (const [name, text] of Object.entries(form))
    list.append(element("dt", "", name), element("dd", "", text));
  return element("div", "", element("p", "label", "Form, multipart/form-data"), list);
}

/**
 * @param {string} label
 * @param {unknown} value
 */
function block(label, value) {
  return element("div", "", element("p", "label", label), pre(label, value));
}

/**
 * @param {string} label
 * @param {unknown} value
 */
function pre(label, value) {
  const made = element("pre", "", element("code", "", JSON.stringify(value, null, 2)));
  made.tabIndex = 0; // it may scroll, and a keyboard has to be able to
  made.setAttribute("aria-label", label);
  return made;
}

/** @param {...(Node | string)} children */
function line(...children) {
  return element("p", "line", ...children);
}
