// Markdown within a paragraph: emphasis, code, links, breaks. Pure: a text in, nodes out.
//
// A node is a string or {tag, attributes, children}. The time is linear in the text: a search that failed isn't
// repeated, nesting has a limit. HTML is text here. With `open` the text is still growing, and what has no end
// yet (`**bold`) is shown as if it ended here.
import { link, safeUrl } from "./links.js";

const SPECIAL = /[\\`*_~[!<\n&]|https?:\/\//g;
const MOST_DEPTH = 8;
const MOST_LINK_TEXT = 500;
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: "\u00a0" };

export function inline(text, open = false, depth = 0) {
  return new Inline(text, open, depth).parse();
}

class Inline {
  constructor(text, open, depth) {
    this.text = text;
    this.open = open;
    this.depth = depth;
    this.at = 0;
    this.nodes = [];
    this.failed = new Set(); // what has no end further on
  }

  parse() {
    const { text } = this;
    if (this.depth > MOST_DEPTH) return [text];
    while (this.at < text.length) {
      SPECIAL.lastIndex = this.at;
      const found = SPECIAL.exec(text);
      const next = found ? found.index : text.length;
      if (next > this.at) this.say(text.slice(this.at, next));
      this.at = next;
      if (found && !this.special(found[0])) {
        this.say(found[0]);
        this.at += found[0].length;
      }
    }
    return this.nodes;
  }

  // Texts that follow each other are one node.
  say(text) {
    if (typeof this.nodes.at(-1) === "string") this.nodes[this.nodes.length - 1] += text;
    else this.nodes.push(text);
  }

  add(tag, children, attributes) {
    this.nodes.push({ tag, attributes, children });
  }

  inner(text, open = false) {
    return inline(text, open, this.depth + 1);
  }

  // Take what begins here; false: it is a text.
  special(mark) {
    switch (mark) {
      case "\\": return this.escape();
      case "`": return this.code();
      case "*":
      case "_": return this.emphasis(mark);
      case "~": return this.strike();
      case "[": return this.linked(this.at);
      case "!": return this.text[this.at + 1] === "[" && this.linked(this.at + 1);
      case "<": return this.angle();
      case "&": return this.entity();
      case "\n": return this.lineBreak();
      default: return this.bareUrl();
    }
  }

  escape() {
    const next = this.text[this.at + 1];
    if (next === "\n") {
      this.at += 1;
      return this.lineBreak();
    }
    if (!next || !/[!-/:-@[-`{-~]/.test(next)) return false;
    this.say(next);
    this.at += 2;
    return true;
  }

  lineBreak() {
    const last = this.nodes.at(-1);
    if (typeof last === "string") this.nodes[this.nodes.length - 1] = last.trimEnd();
    this.add("br", []);
    this.at += 1;
    while (this.text[this.at] === " ") this.at += 1;
    return true;
  }

  code() {
    const ticks = run(this.text, this.at);
    const from = this.at + ticks;
    let end = this.failed.has(`\`${ticks}`) ? -1 : closingTicks(this.text, from, ticks);
    if (end < 0) {
      this.failed.add(`\`${ticks}`);
      if (!this.open || from === this.text.length) {
        this.say(this.text.slice(this.at, from));
        this.at = from;
        return true;
      }
      end = this.text.length;
    }
    const content = this.text.slice(from, end).replaceAll("\n", " ");
    const isPadded = content.startsWith(" ") && content.endsWith(" ") && content.trim() !== "";
    this.add("code", [isPadded ? content.slice(1, -1) : content]);
    this.at = Math.min(end + ticks, this.text.length);
    return true;
  }

  emphasis(mark) {
    const { text } = this;
    const length = run(text, this.at);
    const before = text[this.at - 1] ?? " ";
    const after = text[this.at + length] ?? " ";
    const canOpen = !/\s/.test(after) && !(mark === "_" && /[\p{L}\p{N}]/u.test(before));
    for (const marks of canOpen ? [3, 2, 1].filter((size) => size <= length && length <= 3) : []) {
      const from = this.at + length;
      const key = mark + marks;
      let end = this.failed.has(key) ? -1 : closingMarks(text, from, mark, marks);
      let isOpen = false;
      if (end < 0) {
        this.failed.add(key);
        if (!this.open || marks !== 2 || length !== 2) continue;
        end = text.length;
        isOpen = true;
      }
      if (length > marks) this.say(mark.repeat(length - marks));
      const children = this.inner(text.slice(from, end), isOpen);
      if (marks === 1) this.add("em", children);
      else if (marks === 2) this.add("strong", children);
      else this.add("strong", [{ tag: "em", children }]);
      this.at = Math.min(end + marks, text.length);
      return true;
    }
    this.say(mark.repeat(length));
    this.at += length;
    return true;
  }

  strike() {
    const { text } = this;
    if (run(text, this.at) !== 2 || /\s/.test(text[this.at + 2] ?? " ") || this.failed.has("~")) return false;
    const end = text.indexOf("~~", this.at + 2);
    if (end < 0) {
      this.failed.add("~");
      return false;
    }
    this.add("del", this.inner(text.slice(this.at + 2, end)));
    this.at = end + 2;
    return true;
  }

  // [text](address) and ![text](address): a picture would be loaded from elsewhere, so it is a link too.
  linked(bracket) {
    const { text } = this;
    if (this.failed.has("]")) return false;
    const nearest = text.indexOf("]", bracket);
    if (nearest < 0) this.failed.add("]");
    const close = nearest < 0 || nearest - bracket > MOST_LINK_TEXT ? -1 : closingBracket(text, bracket);
    if (close < 0 || text[close + 1] !== "(") return false;
    const label = text.slice(bracket + 1, close);
    const target = /\(\s*<?((?:[^\s<>()]|\([^\s<>()]*\)){0,2000})>?(?:\s+(?:"[^"\n]{0,500}"|'[^'\n]{0,500}'))?\s*\)/y;
    target.lastIndex = close + 1;
    const found = target.exec(text);
    if (!found) {
      if (!this.open || /[\s)]/.test(text.slice(close + 2, close + 2002))) return false;
      this.nodes.push(...this.inner(label)); // the address is still coming
      this.at = text.length;
      return true;
    }
    const href = safeUrl(found[1]);
    const children = this.inner(label || found[1]);
    if (href) this.nodes.push(link(href, children));
    else this.nodes.push(...children);
    this.at = target.lastIndex;
    return true;
  }

  angle() {
    const found = /<(?:(br)\s{0,9}\/?|((?:https?:\/\/|mailto:)[^\s<>]{1,2000}))>/iy;
    found.lastIndex = this.at;
    const match = found.exec(this.text);
    if (!match) return false;
    const href = match[2] && safeUrl(match[2]);
    if (match[2] && !href) return false;
    if (href) this.nodes.push(link(href, [match[2].replace(/^mailto:/i, "")]));
    else this.add("br", []);
    this.at = found.lastIndex;
    return true;
  }

  entity() {
    const found = /&(amp|lt|gt|quot|nbsp);/y;
    found.lastIndex = this.at;
    const match = found.exec(this.text);
    if (!match) return false;
    this.say(ENTITIES[match[1]]);
    this.at = found.lastIndex;
    return true;
  }

  bareUrl() {
    const found = /https?:\/\/[^\s<>"`*]{1,2000}/y;
    found.lastIndex = this.at;
    if (/[\p{L}\p{N}]/u.test(this.text[this.at - 1] ?? " ")) return false;
    let url = found.exec(this.text)?.[0] ?? "";
    url = url.replace(/[.,;:!?'\])}]{1,20}$/, (end) => (end[0] === ")" && url.includes("(") ? ")" : ""));
    const href = safeUrl(url);
    if (!href) return false;
    this.nodes.push(link(href, [url]));
    this.at += url.length;
    return true;
  }
}

// How often the character at a place is repeated.
function run(text, at) {
  let end = at + 1;
  while (text[end] === text[at]) end += 1;
  return end - at;
}

function closingTicks(text, from, ticks) {
  for (let at = text.indexOf("`", from); at >= 0; ) {
    const length = run(text, at);
    if (length === ticks) return at;
    at = text.indexOf("`", at + length);
  }
  return -1;
}

// Where `marks` marks end what began before `from`; code between them doesn't count.
function closingMarks(text, from, mark, marks) {
  const stop = mark === "*" ? /[\\`*]/g : /[\\`_]/g;
  let ticksFail = false;
  for (stop.lastIndex = from; ; ) {
    const found = stop.exec(text);
    if (!found) return -1;
    const at = found.index;
    if (found[0] === "\\") {
      stop.lastIndex = at + 2;
      continue;
    }
    const length = run(text, at);
    stop.lastIndex = at + length;
    if (found[0] === "`") {
      const end = ticksFail ? -1 : closingTicks(text, at + length, length);
      if (end < 0) ticksFail = true;
      else stop.lastIndex = end + length;
      continue;
    }
    const fits = length === marks || (length === 3 && marks < 3);
    const after = text[at + length] ?? " ";
    if (fits && at > from && !/\s/.test(text[at - 1]) && !(mark === "_" && /[\p{L}\p{N}]/u.test(after))) {
      return marks === 1 && length === 3 ? at + 2 : at;
    }
  }
}

function closingBracket(text, at) {
  let depth = 0;
  for (let end = at; end < text.length && end - at <= MOST_LINK_TEXT; end += 1) {
    if (text[end] === "\\") end += 1;
    else if (text[end] === "[") depth += 1;
    else if (text[end] === "]" && (depth -= 1) === 0) return end;
    else if (text[end] === "\n" && text[end + 1] === "\n") return -1;
  }
  return -1;
}
