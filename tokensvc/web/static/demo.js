/**
 * The page that `tokensvc dev` serves: ask for a credential, upload with it, see the second use refused.
 *
 * It knows no key and decides nothing: whatever it shows as allowed or refused, the server said so.
 */

import { UPLOAD_PATH, session, words } from "./demo-api.js";
import { byId, show, size } from "./demo-format.js";
import { listen } from "./demo-intake.js";
import { Queue, Speed, canRetry, isOver, sum } from "./demo-queue.js";
import { Row } from "./demo-row.js";
import { commands } from "./demo-terminal.js";
import { newUpload, useAgain } from "./demo-upload.js";

/** @typedef {import("./demo-upload.js").Upload} Upload */

const VERSION_WORDS = Object.freeze({
  v1: "HMAC-SHA1 over a random token and an expiry. It bounds when and how often; form fields are free.",
  v2: "An HS256 JWT with every form field inside. Change, add or drop one and the upload is refused.",
});

/** From here on rows are low, so that a long list can be looked through. */
const MANY = 20;

const choices = byId("choices");

/** @type {Map<Upload, Row>} */
const rows = new Map();
const queue = new Queue(draw);
const speed = new Speed();
let totalIsDue = false;
let wasRunning = false;

/** @param {Upload} upload */
function draw(upload) {
  rows.get(upload)?.draw();
  // Signed out elsewhere, or too long ago. Ask only if the page still says otherwise.
  if (upload.refusal?.status === 401 && byId("sign-in").hidden) showSession("GET");
  if (totalIsDue) return;
  totalIsDue = true;
  requestAnimationFrame(drawTotal);
}

function drawTotal() {
  totalIsDue = false;
  const all = sum(queue.uploads);
  const rate = speed.sample(performance.now(), all.sentBytes);
  byId("total").hidden = all.files === 0;
  byId("total-progress").value = all.bytes ? all.sentBytes / all.bytes : Number(all.stored > 0);
  byId("total-words").textContent = [
    `${all.stored} of ${all.files} ${all.files === 1 ? "file" : "files"} stored`,
    all.unstored && `${all.unstored} not stored`,
    all.bytes && `${size(Math.round(all.sentBytes))} of ${size(all.bytes)}`,
    all.running && rate > 0 && `${size(Math.round(rate))}/s`,
  ]
    .filter(Boolean)
    .join(" · ");
  show(
    [
      [byId("retry-all"), all.running === 0 && all.unstored > 0],
      [byId("cancel-all"), all.running > 1],
      [byId("only-unstored"), all.unstored > 0 && (all.unstored < all.files || showsOnlyUnstored())],
      [byId("clear"), all.running === 0 && all.files > 0],
    ],
    byId("file-input"),
  );
  if (all.unstored === 0) showOnlyUnstored(false);
  byId("files").classList.toggle("many", all.files > MANY);
  if (wasRunning && !all.running) say(all);
  wasRunning = all.running > 0;
}

const showsOnlyUnstored = () => byId("files").classList.contains("only-unstored");

/** @param {boolean} wanted whether the list leaves out what is stored or on its way */
function showOnlyUnstored(wanted) {
  byId("files").classList.toggle("only-unstored", wanted);
  byId("only-unstored").setAttribute("aria-pressed", String(wanted));
}

/**
 * Tell screen readers how a batch ended; the rows themselves would be too many voices.
 * @param {ReturnType<typeof sum>} all
 */
function say(all) {
  const refused = queue.uploads.find((upload) => upload.refusal)?.refusal;
  byId("said").textContent = `${all.stored} of ${all.files} stored. ${refused ? refused.message : ""}`;
}

/** @param {File[]} files */
function take(files) {
  const { version, folder, tags } = Object.fromEntries(new FormData(choices));
  /** @type {Record<string, string>} */
  const chosen = {};
  const list = String(tags)
    .split(",")
    .map((tag) => tag.trim())
    .filter(Boolean)
    .join(",");
  if (list) chosen.tags = list;
  if (String(folder).trim()) chosen.folder = String(folder).trim();
  const uploads = files.map((file) => newUpload(file, /** @type {"v1" | "v2"} */ (version), chosen));
  const actions = {
    cancel: (/** @type {Upload} */ upload) => queue.cancel(upload),
    retry: (/** @type {Upload} */ upload) => queue.retry(upload),
    again: (/** @type {Upload} */ upload) => useAgain(upload, draw),
  };
  for (const upload of uploads) rows.set(upload, new Row(upload, actions));
  byId("files").prepend(...uploads.map((upload) => /** @type {Row} */ (rows.get(upload)).root));
  queue.add(uploads);
}

function clear() {
  for (const upload of queue.clear()) {
    rows.get(upload)?.root.remove();
    rows.delete(upload);
  }
  drawTotal();
}

function showVersion() {
  const version = /** @type {"v1" | "v2"} */ (new FormData(choices).get("version"));
  byId("version-words").textContent = VERSION_WORDS[version];
  byId("step-ask").textContent = version === "v1" ? "GET /auth" : "POST /auth";
  byId("step-upload").textContent = `POST ${UPLOAD_PATH[version]}`;
  byId("curl").textContent = commands(version, location.origin);
}

/** @param {"GET" | "POST" | "DELETE"} method look, sign in, sign out */
async function showSession(method) {
  const answer = await session(method);
  const notice = byId("notice");
  notice.hidden = answer.status === 200;
  if (answer.status !== 200) {
    const { message, help } = words(answer);
    notice.textContent = `${message} ${help}`;
    byId("sign-in").hidden = false;
    return;
  }
  const { signed_in: signedIn, subject } = answer.body;
  byId("who").hidden = !signedIn;
  byId("subject").textContent = subject ?? "";
  show([
    [byId("sign-in"), !signedIn],
    [byId("sign-out"), signedIn],
  ]);
}

async function copy() {
  const button = byId("copy");
  try {
    await navigator.clipboard.writeText(byId("curl").textContent);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select it by hand";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

/**
 * @param {string} id
 * @param {() => void} act
 */
const onClick = (id, act) => byId(id).addEventListener("click", act);

onClick("sign-in", () => showSession("POST"));
onClick("sign-out", () => showSession("DELETE"));
onClick("retry-all", () => queue.uploads.filter(canRetry).forEach((upload) => queue.retry(upload)));
onClick("cancel-all", () =>
  queue.uploads.filter((upload) => !isOver(upload)).forEach((upload) => queue.cancel(upload)),
);
onClick("only-unstored", () => showOnlyUnstored(!showsOnlyUnstored()));
onClick("clear", clear);
onClick("copy", copy);
choices.addEventListener("change", showVersion);
choices.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
listen(byId("dropzone"), byId("file-input"), take);
setInterval(() => rows.forEach((row) => row.tick(Date.now() / 1000)), 1000);
showVersion();
showSession("GET");
