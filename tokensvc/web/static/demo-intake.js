/**
 * The ways in: the file input, drag and drop on the whole page (folders too), and paste.
 */

/**
 * @param {HTMLElement} zone shows that something can be dropped
 * @param {HTMLInputElement} input
 * @param {(files: File[]) => void} take
 */
export function listen(zone, input, take) {
  input.addEventListener("change", () => {
    take([...(input.files ?? [])]);
    input.value = ""; // so that the same file may be chosen again
  });
  listenForDrops(zone, take);
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) {
      event.preventDefault();
      take(files);
    }
  });
}

/**
 * The whole page takes drops: a file that misses the zone would otherwise replace the page.
 * @param {HTMLElement} zone
 * @param {(files: File[]) => void} take
 */
function listenForDrops(zone, take) {
  let depth = 0; // dragenter and dragleave come for each element that is passed
  const show = () => zone.classList.toggle("over", depth > 0);
  const carriesFiles = (/** @type {DragEvent} */ event) =>
    event.dataTransfer?.types.includes("Files") ?? false;
  document.addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    depth += 1;
    show();
  });
  document.addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    show();
  });
  document.addEventListener("dragover", (event) => {
    if (!carriesFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  document.addEventListener("drop", async (event) => {
    if (!carriesFiles(event) || !event.dataTransfer) return;
    event.preventDefault();
    depth = 0;
    show();
    take(await droppedFiles(event.dataTransfer));
  });
}

/**
 * @param {DataTransfer} transfer
 * @returns {Promise<File[]>}
 */
async function droppedFiles(transfer) {
  // Entries have to be taken before the first await: the transfer is emptied after the event.
  const plain = [...transfer.files];
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.() ?? null);
  if (!entries.some((entry) => entry?.isDirectory)) return plain;
  const found = await Promise.all(entries.map((entry) => (entry ? filesIn(entry) : [])));
  return found.flat();
}

/**
 * @param {any} entry a FileSystemEntry
 * @returns {Promise<File[]>}
 */
async function filesIn(entry) {
  if (entry.isFile) {
    return new Promise((resolve) =>
      entry.file(
        (/** @type {File} */ file) => resolve([file]),
        () => resolve([]),
      ),
    );
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader gives a hundred entries at a time, and none at the end.
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return found.flat();
    found.push(...(await Promise.all(some.map(filesIn))));
  }
}
