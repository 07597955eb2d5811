// The servers of a demonstration, with a button each. Hidden where this is no demonstration.
import { button, byId, make } from "../dom.js";
import { killServer, readServers, startServer } from "../gateway/demo.js";
import { layers, shortId } from "../words.js";
import { announce } from "./reader.js";
import { track } from "./route.js";

const EVERY_MILLISECONDS = 2000;

export class Servers {
  constructor() {
    this.servers = [];
    this.used = new Set();
    this.onChange = () => {};
  }

  // Ask now and then while this is a demonstration.
  async watch() {
    const servers = await readServers();
    if (servers === null) return;
    if (servers) this.show(servers);
    setTimeout(() => this.watch(), EVERY_MILLISECONDS);
  }

  canKill(peer) {
    return this.servers.some((server) => server.peer === peer && server.isAlive);
  }

  async kill(peer) {
    announce(`Killing ${shortId(peer)}`);
    const isDone = await killServer(peer);
    if (!isDone) announce(`${shortId(peer)} couldn't be killed`);
    this.refresh();
  }

  async start(peer) {
    announce(`Starting ${shortId(peer)}`);
    await startServer(peer);
    this.refresh();
  }

  async refresh() {
    const servers = await readServers();
    if (servers) this.show(servers);
  }

  // Mark those that the answer on the page uses now.
  showUsed(peers) {
    this.used = new Set(peers);
    for (const row of byId("server-rows").children) row.classList.toggle("isused", this.used.has(row.dataset.peer));
  }

  show(servers) {
    const isSame = JSON.stringify(servers) === JSON.stringify(this.servers);
    this.servers = servers;
    byId("servers").hidden = servers.length === 0;
    if (isSame) return;
    const focused = document.activeElement?.closest?.("li")?.dataset.peer;
    const most = Math.max(1, ...servers.map((server) => server.end));
    const rows = [...servers].sort((a, b) => a.first - b.first || a.end - b.end).map((server) => this.row(server, most));
    byId("server-rows").replaceChildren(...rows);
    if (focused) rows.find((row) => row.dataset.peer === focused)?.querySelector("button")?.focus();
    this.onChange();
  }

  row(server, most) {
    const { peer, isAlive } = server;
    const act = isAlive
      ? button("Kill", () => this.kill(peer), { class: "kill", "aria-label": `Kill ${shortId(peer)}, layers ${layers(server)}` })
      : button("Start", () => this.start(peer), { class: "kill start", "aria-label": `Start ${shortId(peer)} again` });
    return make(
      "li", { "data-peer": peer, class: `${isAlive ? "" : "isgone"} ${this.used.has(peer) ? "isused" : ""}` },
      track(server, most, 0),
      make("span", { class: "hopline" }, make("span", { class: "peer", title: peer }, shortId(peer)), make("span", { class: "where" }, make("span", { class: "unseen" }, "layers "), layers(server)), act),
    );
  }
}
