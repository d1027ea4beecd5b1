// Runs one of ImageKit's SDKs for Node. Standard input: {sdk, do: "upload" or "sign", …}; output: one JSON object.
import NewImageKit, {toFile} from "@imagekit/nodejs";
import OldImageKit from "imagekit";
import {getUploadAuthParams} from "./node_modules/@imagekit/next/dist/server/index-esm.js";

let text = "";
for await (const chunk of process.stdin) text += chunk;
const wanted = JSON.parse(text);
const {privateKey, publicKey, baseURL} = wanted;

const fields = {fileName: "stripes.png", folder: "/from/node", tags: ["summer", "dress"], responseFields: ["tags"]};
const content = () => Buffer.from(wanted.content, "base64");
const newer = () => new NewImageKit({privateKey, baseURL, maxRetries: 0});
const older = () =>
  new OldImageKit({
    privateKey,
    publicKey,
    urlEndpoint: `${baseURL}/files`,
    uploadEndpoint: `${baseURL}/api/v1/files/upload`,
  });

const SDKS = {
  "@imagekit/nodejs": {
    async upload() {
      const files = {v1: newer().files, v2: newer().beta.v2.files}[wanted.version];
      return files.upload({file: await toFile(content(), "stripes.png"), ...fields});
    },
    sign: () => newer().helper.getAuthenticationParameters(wanted.token, wanted.expire),
    refusal: (error) => ({
      error: error.constructor.name,
      status: error.status,
      message: error.error?.message,
      help: error.error?.help,
    }),
  },
  imagekit: {
    upload: () => older().upload({file: content(), ...fields}),
    sign: () => older().getAuthenticationParameters(wanted.token, wanted.expire),
    refusal: (error) => ({status: error.$ResponseMetadata?.statusCode, message: error.message, help: error.help}),
  },
  "@imagekit/next": {
    sign: () => getUploadAuthParams({privateKey, publicKey, token: wanted.token, expire: wanted.expire}),
  },
};

const sdk = SDKS[wanted.sdk];
try {
  console.log(JSON.stringify({answer: await sdk[wanted.do]()}));
} catch (error) {
  console.log(JSON.stringify(sdk.refusal(error)));
}
