// The conversations and the answers that stream into them. What is drawn is the views' business.
import { streamAnswer } from "./gateway/client.js";
import * as kept from "./kept/conversations.js";
import { USUAL_TEMPERATURE, readSettings } from "./kept/settings.js";

const KEEP_EVERY_MILLISECONDS = 2000;

export class Chat {
  // `watcher`: {opened(conversation), changed(), grew(answer), ended(answer), full()}
  constructor(watcher) {
    this.watcher = watcher;
    this.streams = new Map(); // conversation id -> {conversation, abort}
    this.conversation = kept.newConversation();
    this.isLeaving = false; // the browser cuts the streams of a page that goes
    addEventListener("pageshow", () => { this.isLeaving = false; });
    addEventListener("pagehide", () => {
      this.isLeaving = true;
      this.streams.forEach(({ conversation }) => kept.keep(conversation));
    });
  }

  get isStreaming() {
    return this.streams.has(this.conversation.id);
  }

  list() {
    return kept.readAll();
  }

  // The same object while an answer streams into it.
  find(id) {
    return this.streams.get(id)?.conversation ?? (id === this.conversation.id ? this.conversation : kept.read(id));
  }

  open(conversation) {
    this.conversation = conversation;
    kept.keepCurrent(conversation.id);
    this.watcher.opened(conversation);
  }

  openKept() {
    const id = kept.readCurrent();
    this.open((id && kept.read(id)) || kept.newConversation());
  }

  create() {
    this.open(this.conversation.turns.length ? kept.newConversation() : this.conversation);
  }

  ask(question, model) {
    if (this.isStreaming) return;
    const { conversation } = this;
    if (!conversation.turns.length && !conversation.isNamed) conversation.title = kept.titleOf(question);
    conversation.turns.push({ question, answer: null });
    this.answerLast(model);
  }

  edit(question, model) {
    if (this.isStreaming) return;
    this.conversation.turns.pop();
    this.ask(question, model);
  }

  // Answer the last question again.
  retry(model, isAutomatic = false) {
    const turn = this.conversation.turns.pop();
    if (!turn) return;
    if (this.isStreaming) return void this.conversation.turns.push(turn);
    const attempts = isAutomatic ? (turn.answer?.problem?.attempts ?? 0) + 1 : 0;
    this.conversation.turns.push({ question: turn.question, answer: null });
    this.answerLast(model, attempts);
  }

  stop() {
    this.streams.get(this.conversation.id)?.abort.abort();
  }

  rename(id, title) {
    const conversation = this.find(id);
    if (!conversation) return;
    Object.assign(conversation, { title, isNamed: true });
    this.keep(conversation);
  }

  remove(ids) {
    for (const id of ids) {
      this.streams.get(id)?.abort.abort();
      this.streams.delete(id);
      kept.remove(id);
    }
    if (ids.includes(this.conversation.id)) this.open(kept.newConversation());
    this.watcher.changed();
  }

  keep(conversation) {
    if (!kept.keep(conversation)) this.watcher.full();
    this.watcher.changed();
  }

  async answerLast(model, attempts = 0) {
    const { conversation } = this;
    const turn = conversation.turns.at(-1);
    const { system, numbers } = readSettings();
    const messages = messagesOf(conversation, system);
    const answer = { text: "", state: "streaming", problem: null, model, route: null, usage: null, seconds: 0 };
    turn.answer = answer;
    conversation.updated = Date.now();
    const abort = new AbortController();
    const stream = { conversation, abort };
    this.streams.set(conversation.id, stream);
    this.keep(conversation);
    const began = performance.now();
    let keptAt = began;
    try {
      let end = "done";
      for await (const part of streamAnswer({ model, messages, settings: { temperature: USUAL_TEMPERATURE, ...numbers }, signal: abort.signal })) {
        if (part.text) answer.text += part.text;
        if (part.route) answer.route = merged(answer.route, part.route);
        if (part.usage) answer.usage = part.usage;
        if (part.finish === "length") end = "length";
        if (conversation === this.conversation) this.watcher.grew(answer);
        if (performance.now() - keptAt > KEEP_EVERY_MILLISECONDS) {
          keptAt = performance.now();
          kept.keep(conversation);
        }
      }
      answer.state = end;
    } catch (error) {
      answer.state = error?.name === "AbortError" || this.isLeaving ? "stopped" : "failed";
      if (answer.state === "failed") answer.problem = problemRecord(error, attempts);
    }
    answer.seconds = (performance.now() - began) / 1000;
    if (this.streams.get(conversation.id) !== stream) return; // it was deleted meanwhile
    this.streams.delete(conversation.id);
    conversation.updated = Date.now();
    this.keep(conversation);
    if (conversation === this.conversation) this.watcher.ended(answer);
  }
}

// An update without hops leaves those known.
function merged(before, route) {
  if (before === null) return route;
  return {
    hops: route.hops.length ? route.hops : before.hops,
    events: route.events.length >= before.events.length ? route.events : before.events,
    tokensPerSecond: route.tokensPerSecond ?? before.tokensPerSecond,
    cached: route.cached ?? before.cached,
  };
}

function problemRecord({ kind, title, advice, canRetry, retryAfter, message }, attempts) {
  if (!kind) return { kind: "broken", title: "This page made an error.", advice: String(message), canRetry: true, attempts };
  return { kind, title, advice, canRetry, attempts, retryAt: retryAfter ? Date.now() + retryAfter * 1000 : null };
}

// Questions whose answer failed before its first word are left out: templates want turns to alternate.
function messagesOf({ turns }, system) {
  const messages = system.trim() ? [{ role: "system", content: system }] : [];
  for (const { question, answer } of turns.slice(0, -1)) {
    if (!answer?.text) continue;
    messages.push({ role: "user", content: question }, { role: "assistant", content: answer.text });
  }
  return [...messages, { role: "user", content: turns.at(-1).question }];
}
