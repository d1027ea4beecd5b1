// What every client page shares: `begin(settings)` mounts the client, a chosen file starts it, `outcome` is what it said.

const APP = () => document.getElementById("app");
let settle = () => {};

// `start` mounts a client for these settings, and must leave one file input in #app.
export function client(start) {
  window.begin = (settings) => {
    window.outcome = new Promise((resolve) => (settle = resolve));
    APP().replaceChildren();
    start(settings, APP());
  };
}

// A file input of the app's own, for clients that are functions and not components.
export function fileInput(place, chosen) {
  const input = document.createElement("input");
  input.type = "file";
  input.addEventListener("change", () => chosen(input.files[0]));
  place.append(input);
}

export const stored = (answer) => settle({answer});

// All that reached the application of a refusal, wherever this client puts it.
export const refused = (error) =>
  settle({
    refusal: {
      message: String(error?.message ?? error),
      help: error?.help ?? null,
      status: error?.$ResponseMetadata?.statusCode ?? error?.status ?? null,
      requestId: error?.$ResponseMetadata?.requestId ?? null,
    },
  });

// A client that falls over its own feet tells the application nothing; the page would wait for ever.
window.addEventListener("error", (event) => settle({fault: event.message}));
window.addEventListener("unhandledrejection", (event) => settle({fault: String(event.reason)}));

export const done = (error, answer) => (error ? refused(error) : stored(answer));

let credential = null;

// The documented authenticator: the app's own fetch, across origins, with headers that need a preflight.
export async function authenticate(settings) {
  if (settings.again) return credential;
  const response = await fetch(settings.auth, {
    headers: {"Content-Type": "application/json", Authorization: settings.bearer, CustomHeader: "anything"},
  });
  if (!response.ok) throw new Error(`Request failed with status ${response.status}: ${await response.text()}`);
  credential = await response.json();
  return credential;
}

// The three values that the SDKs of the second generation and later want.
export async function threeValues(settings) {
  const {token, signature, expire} = await authenticate(settings);
  return {token, signature, expire};
}
