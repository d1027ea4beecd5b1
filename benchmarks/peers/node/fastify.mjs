// Fastify and node's own crypto: no caller is known, and nothing is recorded.
import { createHmac, randomUUID } from "node:crypto";
import Fastify from "fastify";
import { inProcesses } from "./processes.mjs";

const { PORT, PRIVATE_KEY, PUBLIC_KEY } = process.env;

inProcesses(() => {
  const app = Fastify();
  app.get("/auth", async () => {
    const token = randomUUID();
    const expire = Math.floor(Date.now() / 1000) + 1800;
    const signature = createHmac("sha1", PRIVATE_KEY).update(token + expire).digest("hex");
    return { token, expire, signature, publicKey: PUBLIC_KEY };
  });
  app.listen({ port: Number(PORT), host: "127.0.0.1" });
});
