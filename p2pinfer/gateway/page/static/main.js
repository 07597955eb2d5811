// Puts the parts of the page together.
import { Chat } from "./chat.js";
import { byId, copyText } from "./dom.js";
import { readModels } from "./gateway/client.js";
import { forgetKey, keepKey } from "./gateway/key.js";
import { isConversation, read } from "./kept/conversations.js";
import { exportJson, exportMarkdown } from "./kept/exports.js";
import { keepSettings, readSettings } from "./kept/settings.js";
import { browserStore } from "./kept/storage.js";
import { Composer } from "./view/composer.js";
import { askKey, askName, askSure } from "./view/dialogs.js";
import { hideNotice, showNotice } from "./view/notices.js";
import { announce } from "./view/reader.js";
import { Servers } from "./view/servers.js";
import { askSettings } from "./view/settings.js";
import { Side } from "./view/side.js";
import { Thread } from "./view/thread.js";
import { plural, tame } from "./words.js";

const servers = new Servers();
const model = byId("model");

const chat = new Chat({
  opened(conversation) {
    thread.open(conversation);
    showFrame();
    showUsed();
  },
  changed() {
    showFrame();
    thread.draw();
  },
  grew() {
    thread.grow();
    showUsed();
  },
  ended(answer) {
    thread.end(answer);
    showFrame();
    showUsed();
    if (answer.problem?.kind === "key") changeKey();
  },
  full() {
    showNotice("full", "This browser's store is full: the newest messages will be lost with this tab. Export conversations, or delete some.");
  },
});

const thread = new Thread({
  ask,
  retry: (isAutomatic) => chat.retry(model.value, isAutomatic),
  edit: (text) => { chat.edit(text, model.value); composer.focus(); },
  key: changeKey,
}, servers);

const side = new Side({
  open(id) {
    const conversation = chat.find(id);
    if (conversation) chat.open(conversation);
  },
  create() {
    chat.create();
    composer.focus();
  },
  async rename(id) {
    const name = await askName(chat.find(id)?.title ?? "");
    if (name) chat.rename(id, name);
  },
  exportMarkdown: (id) => exportMarkdown(chat.find(id)),
  exportJson: (id) => exportJson([chat.find(id)], chat.find(id).title),
  async remove(id) {
    const title = chat.find(id)?.title ?? "";
    if (await askSure("Delete this conversation?", `“${tame(title)}” is kept nowhere else.`, "Delete")) chat.remove([id]);
  },
});

const composer = new Composer({ ask, stop: () => chat.stop() });

function ask(text) {
  if (chat.isStreaming) {
    announce("The answer is still coming. Esc stops it.");
    return false;
  }
  if (!model.value) {
    loadModels();
    return false;
  }
  thread.scrollToEnd();
  chat.ask(text, model.value);
  return true;
}

function showFrame() {
  const { title, id } = chat.conversation;
  byId("title").textContent = tame(title);
  document.title = chat.conversation.turns.length ? `${tame(title)} · p2pinfer chat` : "p2pinfer chat";
  side.show(chat.list(), id);
  composer.showStreaming(chat.isStreaming);
}

function showUsed() {
  const answer = chat.isStreaming ? chat.conversation.turns.at(-1)?.answer : null;
  servers.showUsed(answer?.route?.hops.map((hop) => hop.peer) ?? []);
}

async function loadModels() {
  let ids;
  try {
    ids = await readModels();
  } catch (problem) {
    showModels([]);
    if (problem.kind === "key") return changeKey();
    return showNotice("models", `${problem.title} ${problem.advice}`, { text: "Try again", run: loadModels });
  }
  hideNotice("models");
  showModels(ids);
  if (!ids.length) showNotice("models", "This gateway serves no model now.", { text: "Look again", run: loadModels });
}

function showModels(ids) {
  const wanted = readSettings().model;
  model.replaceChildren(...(ids.length ? ids : [""]).map((id) => new Option(tame(id) || "no model", id, false, id === wanted)));
  model.disabled = !ids.length;
}

let isAsking = false;

async function changeKey() {
  if (isAsking) return;
  isAsking = true;
  const entered = await askKey();
  isAsking = false;
  if (!entered) {
    if (!model.value) showNotice("models", "This gateway wants a key.", { text: "Enter the key", run: changeKey });
    return;
  }
  if (entered.key) keepKey(entered.key, entered.stays);
  else forgetKey();
  await loadModels();
  const problem = chat.conversation.turns.at(-1)?.answer?.problem;
  if (entered.key && model.value && problem?.kind === "key") chat.retry(model.value);
}

model.addEventListener("change", () => keepSettings({ ...readSettings(), model: model.value }));
byId("open-settings").addEventListener("click", askSettings);
byId("export-all").addEventListener("click", () => exportJson(chat.list(), "p2pinfer conversations"));
byId("change-key").addEventListener("click", () => { byId("settings").close(); changeKey(); });
byId("delete-all").addEventListener("click", async () => {
  const ids = chat.list().map(({ id }) => id);
  if (ids.length && await askSure("Delete all conversations?", `${plural(ids.length, "conversation")} will be gone from this browser.`, "Delete all")) chat.remove(ids);
});

document.addEventListener("click", (event) => {
  const copy = event.target.closest?.("[data-copy]");
  if (copy) copyText(copy.closest(".code").querySelector("code").textContent, copy).then((isDone) => announce(isDone ? "Copied" : "It can't be copied here: select the text"));
});
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open], :popover-open")) return;
  const isTyping = event.target.closest?.("input, textarea, select");
  if (event.key === "Escape" && !side.close()) chat.stop();
  else if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    composer.focus();
  }
});

addEventListener("offline", () => showNotice("offline", "This device is offline. Your conversations are here; answers need the network."));
addEventListener("online", () => {
  hideNotice("offline");
  if (!model.value) loadModels();
});
if (!navigator.onLine) dispatchEvent(new Event("offline"));

// Another tab changed something.
addEventListener("storage", (event) => {
  if (!isConversation(event.key)) return;
  const { id } = chat.conversation;
  const isOther = event.key === null || event.key.endsWith(id);
  const newest = isOther && !chat.isStreaming ? read(id) : null;
  if (newest) chat.open(newest);
  else showFrame();
});

if (!browserStore("local").isLasting) {
  showNotice("store", "This browser keeps nothing for this page: conversations are gone when the tab closes.");
}
servers.onChange = () => chat.isStreaming && thread.grow();
chat.openKept();
loadModels();
servers.watch();
composer.focus();
