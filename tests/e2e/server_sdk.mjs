// Uploads with ImageKit's Node SDK. Reads one JSON object from standard input and writes one to standard output.
import ImageKit, {toFile} from "@imagekit/nodejs";

let text = "";
for await (const chunk of process.stdin) text += chunk;
const wanted = JSON.parse(text);

const client = new ImageKit({privateKey: wanted.privateKey, baseURL: wanted.baseURL, maxRetries: 0});
const files = {v1: client.files, v2: client.beta.v2.files}[wanted.version];
try {
  const answer = await files.upload({
    file: await toFile(Buffer.from(wanted.content, "base64"), "stripes.png"),
    fileName: "stripes.png",
    folder: "/from/node",
    tags: ["summer", "dress"],
    responseFields: ["tags"],
  });
  console.log(JSON.stringify({answer}));
} catch (error) {
  console.log(JSON.stringify({error: error.constructor.name, status: error.status, message: error.error?.message}));
}
