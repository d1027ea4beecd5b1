/**
 * Small pieces that every part of the page uses: elements, sizes, times.
 *
 * Text reaches the page through `textContent` only; there is no way here to put markup into it.
 */

/**
 * Make an element. Children that are strings become text.
 * @param {string} name
 * @param {string} [className]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(name, className = "", ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/**
 * The element with that id, which demo.html is known to hold.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`demo.html holds no #${id}`);
  return found;
}

/**
 * Show some buttons and hide the others. When the one that has the focus goes, the next in sight gets it,
 * so that a keyboard does not fall back to the top of the page.
 * @param {[HTMLElement, boolean][]} buttons
 * @param {HTMLElement} [otherwise] gets the focus when none is in sight
 */
export function show(buttons, otherwise) {
  const focused = buttons.find(([button]) => button === document.activeElement);
  for (const [button, shown] of buttons) button.hidden = !shown;
  if (focused?.[0].hidden) (buttons.find(([, shown]) => shown)?.[0] ?? otherwise)?.focus();
}

/**
 * Bytes in words, decimal as the server's limits are: 25 MB is 25,000,000 bytes.
 * @param {number} bytes
 */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = -1;
  do {
    value /= 1000;
    unit += 1;
  } while (value >= 999.5 && unit < units.length - 1);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/**
 * Seconds as a countdown, `29:05`; never negative.
 * @param {number} seconds
 */
export function countdown(seconds) {
  const left = Math.max(0, Math.floor(seconds));
  return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
}

/**
 * What a file is, in at most four letters, for the tile of a file that has no picture.
 * @param {string} name
 */
export function glyph(name) {
  const extension = /\.([\p{L}\p{N}]{1,4})$/u.exec(name)?.[1];
  return extension ? extension.toUpperCase() : "FILE";
}

/**
 * An address that may be linked to, or null: anything but http and https is left alone.
 * @param {unknown} url
 */
export function webAddress(url) {
  if (typeof url !== "string") return null;
  try {
    const parsed = new URL(url, location.href);
    return ["http:", "https:"].includes(parsed.protocol) ? parsed : null;
  } catch {
    return null;
  }
}
