/**
 * The shell lines that do what the page does.
 */

/**
 * @param {"v1" | "v2"} version
 * @param {string} origin of this server
 */
export function commands(version, origin) {
  return (version === "v1" ? v1 : v2)(origin).join("\n");
}

/** @param {string} origin */
const v1 = (origin) => [
  "# Ask for a credential",
  `curl -H "Authorization: Bearer $KEY" ${origin}/auth | tee credential.json`,
  "",
  "# Upload with it; run this again and read the refusal",
  "curl -F file=@photo.jpg -F fileName=photo.jpg \\",
  ...["publicKey", "signature", "expire", "token"].map(
    (name) => `  -F "${name}=$(jq -r .${name} credential.json)" \\`,
  ),
  `  ${origin}/api/v1/files/upload`,
];

/** @param {string} origin */
const v2 = (origin) => [
  "# Ask for a credential for exactly these fields",
  'curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\',
  `  -d '{"uploadPayload": {"fileName": "photo.jpg"}}' ${origin}/auth | tee credential.json`,
  "",
  "# Upload with it; run this again, or change fileName, and read the refusal",
  'curl -F file=@photo.jpg -F fileName=photo.jpg -F "token=$(jq -r .token credential.json)" \\',
  `  ${origin}/api/v2/files/upload`,
];
