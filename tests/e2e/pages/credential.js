// Fetches a v1 credential from another origin, with the headers that make a browser ask first (a preflight).
async function fetchCredential(settings) {
  const response = await fetch(settings.auth, {
    headers: {"Content-Type": "application/json", Authorization: settings.bearer, CustomHeader: "anything"},
  });
  if (!response.ok) {
    throw new Error(`Request failed with status ${response.status}: ${await response.text()}`);
  }
  return response.json();
}

function chosenFile() {
  return document.getElementById("file").files[0];
}
