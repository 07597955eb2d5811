// Conversations in this browser: one entry each, so that two tabs don't overwrite each other's.
//
// A conversation is {id, title, isNamed, created, updated, turns}; a turn is {question, answer}; an answer is
// {text, state, problem, model, route, usage, seconds}. States: "streaming", "done", "length", "stopped", "failed".
import { keptRoute } from "../gateway/route.js";
import { browserStore } from "./storage.js";

const PREFIX = "p2pinfer.chat.conversation.";
const CURRENT = "p2pinfer.chat.current";
const TITLE_CHARACTERS = 60;
const STATES = new Set(["done", "length", "stopped", "failed"]);

export const newConversation = () => {
  const now = Date.now();
  return { id: newId(), title: "New conversation", isNamed: false, created: now, updated: now, turns: [] };
};

// crypto.randomUUID isn't there on plain http:// from another machine.
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function titleOf(question) {
  const line = question.trim().split("\n")[0].replace(/\s+/g, " ");
  const characters = [...line];
  return characters.length > TITLE_CHARACTERS ? `${characters.slice(0, TITLE_CHARACTERS - 1).join("")}…` : line || "New conversation";
}

// All of them, the newest first.
export function readAll() {
  const store = browserStore("local");
  return store.names()
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => conversationOf(store.getJson(name), name.slice(PREFIX.length)))
    .filter((conversation) => conversation !== null)
    .sort((a, b) => b.updated - a.updated);
}

export const read = (id) => conversationOf(browserStore("local").getJson(PREFIX + id), id);

// False: the browser's store is full.
export const keep = (conversation) => browserStore("local").set(PREFIX + conversation.id, JSON.stringify(conversation));

export const remove = (id) => browserStore("local").remove(PREFIX + id);

export const isConversation = (name) => name === null || name.startsWith(PREFIX);

// Which one this tab shows.
export const readCurrent = () => browserStore("session").get(CURRENT);
export const keepCurrent = (id) => browserStore("session").set(CURRENT, id);

const string = (value, otherwise = "") => (typeof value === "string" ? value : otherwise);
const number = (value) => (Number.isFinite(value) ? value : 0);

function conversationOf(kept, id) {
  if (kept === null || typeof kept !== "object" || !Array.isArray(kept.turns)) return null;
  return {
    id,
    title: string(kept.title, "Conversation").slice(0, 200),
    isNamed: kept.isNamed === true,
    created: number(kept.created),
    updated: number(kept.updated),
    turns: kept.turns
      .filter((turn) => typeof turn?.question === "string")
      .map((turn) => ({ question: turn.question, answer: answerOf(turn.answer) })),
  };
}

function answerOf(kept) {
  if (kept === null || typeof kept !== "object" || typeof kept.text !== "string") return null;
  return {
    text: kept.text,
    // The tab was closed in the middle.
    state: STATES.has(kept.state) ? kept.state : "stopped",
    problem: kept.problem ? { title: string(kept.problem.title), advice: string(kept.problem.advice), canRetry: true } : null,
    model: string(kept.model),
    route: kept.route ? keptRoute(kept.route) : null,
    usage: kept.usage ? { prompt: number(kept.usage.prompt), completion: number(kept.usage.completion), cached: number(kept.usage.cached) } : null,
    seconds: number(kept.seconds),
  };
}
