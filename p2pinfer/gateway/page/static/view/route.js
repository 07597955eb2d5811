// The live route beside an answer: its hops as a stair over the model's layers, its speed, and what happened.
import { button, make, setText } from "../dom.js";
import { count, layers, list, milliseconds, plural, rate, seconds, shortId } from "../words.js";

// What a change of the route says.
export function eventText({ left, joined, seconds: waited }) {
  const gone = list(left.map(shortId));
  const come = list(joined.map(shortId));
  const after = waited === null ? "" : `, ${seconds(waited)}`;
  if (!gone) return come ? `${come} joined${after}` : `The route changed${after}`;
  if (!come) return `${gone} left${after}`;
  if (gone === come) return `${gone} was connected again${after}`;
  return `${gone} left; ${come} took over${after}`;
}

// A bar that shows some layers among all.
export function track(hop, most, turn) {
  const brick = make("span", { class: "brick" });
  brick.style.setProperty("--from", `${(100 * hop.first) / most}%`);
  brick.style.setProperty("--width", `${(100 * (hop.end - hop.first)) / most}%`);
  brick.style.setProperty("--turn", String(turn));
  return make("span", { class: "track", "aria-hidden": "true" }, brick);
}

export class RouteView {
  // `demo` says which peers may be killed, and kills them.
  constructor(demo) {
    this.demo = demo;
    this.seen = new Map(); // peer -> its layers, also of those that left
    this.rows = new Map(); // peer and layers -> its row
    this.numEvents = 0;
    this.title = make("h3", {}, "Route");
    this.hops = make("ol", { class: "hops" });
    this.speed = make("b");
    this.unit = make("span", {}, this.speed, " tokens/s");
    this.cached = make("span");
    this.happened = make("ul", { class: "happened", hidden: true });
    const figures = make("p", { class: "figures" }, this.unit, this.cached);
    this.element = make("div", { class: "route", role: "group", "aria-label": "Route of this answer", hidden: true }, this.title, this.hops, figures, this.happened);
  }

  // Returns the texts of events that are new.
  show(route, usage, isLive) {
    this.element.hidden = route === null;
    if (route === null) return [];
    this.element.classList.toggle("islive", isLive);
    setText(this.title, isLive ? "Live route" : "Route");
    this.showHops(route, isLive);
    this.unit.hidden = route.tokensPerSecond === null;
    if (route.tokensPerSecond !== null) setText(this.speed, rate(route.tokensPerSecond));
    setText(this.cached, cachedText(route.cached ?? usage?.cached ?? null, usage?.prompt));
    return this.showEvents(route.events);
  }

  showHops(route, isLive) {
    for (const hop of route.hops) this.seen.set(hop.peer, hop);
    const now = new Set(route.hops.map((hop) => hop.peer));
    const joined = new Set(route.events.flatMap((event) => event.joined));
    const left = [...new Set(route.events.flatMap((event) => event.left))];
    const gone = left.filter((peer) => !now.has(peer) && this.seen.has(peer)).map((peer) => this.seen.get(peer));
    const rows = [
      ...gone.map((hop) => ({ hop, isGone: true })),
      ...route.hops.map((hop) => ({ hop, isNew: joined.has(hop.peer) })),
    ].sort((a, b) => a.hop.first - b.hop.first || Boolean(b.isGone) - Boolean(a.isGone));
    const most = Math.max(1, ...rows.map(({ hop }) => hop.end));
    const shown = rows.map((row, turn) => this.row(row, most, turn, isLive));
    if (shown.length !== this.hops.childElementCount || shown.some((row, index) => row !== this.hops.children[index])) {
      this.hops.replaceChildren(...shown);
    }
  }

  row({ hop, isGone = false, isNew = false }, most, turn, isLive) {
    const key = `${hop.peer} ${hop.first} ${hop.end} ${most}`;
    let row = this.rows.get(key);
    if (!row) {
      row = make(
        "li", { class: "hop" }, track(hop, most, turn),
        make("span", { class: "hopline" },
          make("span", { class: "peer", title: hop.peer }, shortId(hop.peer)),
          make("span", { class: "where" }, make("span", { class: "unseen" }, "layers "), layers(hop)),
          make("span", { class: "ms" })),
      );
      this.rows.set(key, row);
    }
    if (isNew && !row.classList.contains("isnew")) row.classList.toggle("isfresh", isLive);
    row.classList.toggle("isnew", isNew);
    row.classList.toggle("isgone", isGone);
    setText(row.querySelector(".ms"), isGone ? "left" : hop.milliseconds === null ? "" : milliseconds(hop.milliseconds));
    this.showKill(row, hop.peer, isLive && !isGone);
    return row;
  }

  // In a demonstration, servers on the route can be killed while the answer goes on.
  showKill(row, peer, isWanted) {
    const shown = row.querySelector(".kill");
    if (isWanted && this.demo.canKill(peer)) {
      if (!shown) {
        row.lastChild.append(button("Kill", () => this.demo.kill(peer), { class: "kill", "aria-label": `Kill ${shortId(peer)}` }));
      }
    } else if (shown) {
      shown.remove();
    }
  }

  showEvents(events) {
    this.happened.hidden = events.length === 0;
    const texts = events.slice(this.numEvents).map(eventText);
    this.happened.append(...texts.map((text) => make("li", {}, ...unbroken(text))));
    this.numEvents = Math.max(this.numEvents, events.length);
    return texts;
  }
}

// Lines may break after an ellipsis, but not within a peer's name.
function unbroken(text) {
  return text.split(/(…[^\s;,]+)/).map((part, index) => (index % 2 ? make("span", { class: "id" }, part) : part));
}

function cachedText(cached, prompt) {
  if (!cached) return "";
  return prompt ? `${count(cached)} of ${plural(prompt, "prompt token")} cached` : `${plural(cached, "prompt token")} cached`;
}
