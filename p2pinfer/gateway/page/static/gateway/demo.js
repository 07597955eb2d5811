// The servers of a demonstration (scripts/quickstart --chat), which the page may kill. Elsewhere there are none.

const HEADERS = { "x-p2pinfer-demo": "1", "content-type": "application/json" };

// [{peer, first, end, isAlive}]; null where this is no demonstration.
export async function readServers() {
  let response;
  try {
    response = await fetch("/demo/servers");
  } catch {
    return undefined; // unknown: the gateway doesn't answer
  }
  if (!response.ok) return null;
  const said = await response.json().catch(() => null);
  if (!Array.isArray(said)) return null;
  return said
    .filter((server) => typeof server?.peer === "string" && Number.isInteger(server.first_layer) && Number.isInteger(server.end_layer))
    .slice(0, 64)
    .map((server) => ({ peer: server.peer, first: server.first_layer, end: server.end_layer, isAlive: server.alive === true }));
}

export const killServer = (peer) => post("/demo/kill", peer);
export const startServer = (peer) => post("/demo/start", peer);

async function post(path, peer) {
  try {
    return (await fetch(path, { method: "POST", headers: HEADERS, body: JSON.stringify({ peer }) })).ok;
  } catch {
    return false;
  }
}
