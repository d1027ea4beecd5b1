// Express and ImageKit's SDK, as its documentation has it: no caller is known, and nothing is recorded.
import ImageKit from "@imagekit/nodejs";
import express from "express";
import { inProcesses } from "./processes.mjs";

const { PORT, PRIVATE_KEY, PUBLIC_KEY } = process.env;

inProcesses(() => {
  const imagekit = new ImageKit({ privateKey: PRIVATE_KEY });
  const app = express();
  app.get("/auth", (_request, response) => {
    response.json({ ...imagekit.helper.getAuthenticationParameters(), publicKey: PUBLIC_KEY });
  });
  app.listen(Number(PORT), "127.0.0.1");
});
