// Live updates. An event announces a new snapshot; the page is then fetched again, and only the differences are
// changed in place, so that focus, scrolling, open details and half-typed searches stay.
//
// The server's templates, which escape, are the only renderer. The browser parses the answer like any page
// (responseType "document": no script runs), and its nodes are moved over. No string becomes markup here; the
// Content-Security-Policy forbids it too (require-trusted-types-for).
import { setServerTime, tick } from "./times.js";

const POLL_SECONDS = 15;
const SPREAD_MILLISECONDS = 1000; // so that five hundred readers don't ask at the same moment
const QUIET_SECONDS = 50; // a swarm is read more often than that

export function follow(enhance, say) {
  let busy = false;

  async function update() {
    if (busy || document.hidden) return; // a hidden page needs no update
    busy = true;
    try {
      const page = await fetchPage();
      if (page && page.documentElement.dataset.snapshot !== document.documentElement.dataset.snapshot) show(page);
    } finally {
      busy = false;
    }
  }

  function show(page) {
    enhance(page);
    const before = headlines(document);
    document.documentElement.dataset.snapshot = page.documentElement.dataset.snapshot;
    for (const id of ["asof", "live"]) morph(document.getElementById(id), page.getElementById(id));
    tick();
    const after = headlines(document);
    const news = [...after].filter(([key, text]) => before.get(key) !== text).map(([, text]) => text);
    for (const key of before.keys()) if (!after.has(key)) news.push("A model is gone");
    if (news.length) say(news.slice(0, 3).join(". "));
  }

  document.addEventListener("visibilitychange", update);
  listen(update);
}

function listen(update) {
  const events = new EventSource("/api/v1/events");
  let heard = Date.now();
  events.addEventListener("open", () => { heard = Date.now(); });
  events.addEventListener("snapshot", (event) => {
    heard = Date.now();
    const { id, now } = JSON.parse(event.data);
    setServerTime(now * 1000);
    if (id !== document.documentElement.dataset.snapshot) setTimeout(update, Math.random() * SPREAD_MILLISECONDS);
  });
  // Events may be missing: too many listeners, a lost connection, a proxy. Then poll; an unchanged page costs a 304.
  setInterval(() => {
    if (events.readyState !== EventSource.OPEN || Date.now() - heard > QUIET_SECONDS * 1000) update();
  }, POLL_SECONDS * 1000);
}

function fetchPage() {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("GET", "/");
    request.responseType = "document";
    request.timeout = 20_000;
    request.onloadend = () => {
      const date = Date.parse(request.getResponseHeader("date") ?? "");
      if (request.status === 200) setServerTime(date);
      resolve(request.status === 200 ? request.response : null);
    };
    request.send();
  });
}

function headlines(page) {
  return new Map([...page.querySelectorAll(".model")].map((model) => [
    model.dataset.key, model.querySelector("[data-headline]").textContent,
  ]));
}

// Makes `old` equal to `fresh` with few changes. Children with a data-key are matched by key, the others by place.
function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName || old.nodeType !== Node.ELEMENT_NODE) {
    old.replaceWith(document.adoptNode(fresh));
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !isReaders(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  const keyed = new Map([...old.children].filter((child) => child.dataset.key).map((child) => [child.dataset.key, child]));
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const key = child.dataset?.key;
    const match = key ? keyed.get(key) : place && !place.dataset?.key ? place : null;
    if (!match) {
      old.insertBefore(document.adoptNode(child), place);
      continue;
    }
    keyed.delete(key);
    if (match === place) place = place.nextSibling;
    else old.insertBefore(match, place);
    morph(match, child);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

// What the reader opened stays open.
function isReaders(element, name) {
  return name === "open" && element.nodeName === "DETAILS";
}
