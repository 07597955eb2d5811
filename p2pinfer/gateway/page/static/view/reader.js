// What a screen reader reads aloud: an answer by sentences as they are complete, and what happens.
import { byId } from "../dom.js";
import { tame } from "../words.js";

const PAUSE_MILLISECONDS = 700; // what comes within it is read in one go
const MOST_LINES = 40;

let waiting = [];
let timer = 0;

// What happened: read as soon as there is a pause.
export function announce(text) {
  byId("status").textContent = "";
  byId("status").textContent = tame(text);
}

function readAloud(text) {
  waiting.push(text);
  timer ||= setTimeout(flush, PAUSE_MILLISECONDS);
}

function flush() {
  timer = 0;
  const log = byId("reader");
  const line = document.createElement("p");
  line.textContent = tame(waiting.join(" "));
  waiting = [];
  log.append(line);
  while (log.childElementCount > MOST_LINES) log.firstChild.remove();
}

// Reads one growing answer.
export class AnswerReader {
  constructor() {
    this.read = 0; // characters
  }

  show(text) {
    const end = lastSentenceEnd(text, this.read);
    if (end > this.read) this.say(text.slice(this.read, end));
    this.read = Math.max(this.read, end);
  }

  end(text) {
    this.say(text.slice(this.read));
    this.read = text.length;
  }

  say(markdown) {
    const plain = markdown.replace(/```[^\n]*\n?/g, " code: ").replace(/[*_#`>|]+/g, "").replace(/\s+/g, " ").trim();
    if (plain) readAloud(plain);
  }
}

// After a full stop and a space, or a line. Only the new text is searched.
function lastSentenceEnd(text, from) {
  for (let at = text.length - 1; at > from; at -= 1) {
    if (text[at] === "\n" || (text[at] === " " && ".!?…:。！？".includes(text[at - 1])) || "。！？".includes(text[at])) return at + 1;
  }
  return from;
}
