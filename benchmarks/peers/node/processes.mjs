// As many processes as asked for, on one port.
import cluster from "node:cluster";

export function inProcesses(serve) {
  if (!cluster.isPrimary) return serve();
  for (let number = 0; number < Number(process.env.WORKERS); number++) cluster.fork();
}
