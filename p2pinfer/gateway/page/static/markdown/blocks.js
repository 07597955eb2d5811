// Markdown's blocks: paragraphs, headings, lists, code, tables, quotes, rules. Pure: a text in, nodes out.
//
// A block's end depends only on the lines up to the next block's start, so of a growing text only the last
// block can still change. Indented code isn't supported: answers use fences.
import { inline as inlineAnew } from "./inline.js";

const FENCE = /^( {0,7})(`{3,}|~{3,})([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+|$)/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}>/;
const ITEM = /^( {0,11})([-*+]|\d{1,9}[.)])([ \t]+|$)/;
const DELIMITER = /^:?-+:?$/;
const UNDERLINE = /^ {0,3}(?:=+|-+)[ \t]*$/;
const MOST_DEPTH = 10;
const MOST_COLUMNS = 60;
const MOST_DELIMITERS = 2000; // characters
const MOST_KNOWN = 500_000; // characters

// [{start, node}]: where in the text each block begins, and what is shown.
export function blocks(text, open = false) {
  const lines = text.split("\n");
  const starts = [];
  let start = 0;
  for (const line of lines) {
    starts.push(start);
    start += line.length + 1;
  }
  return parse(lines, open, 0).map(({ line, node }) => ({ start: starts[line], node }));
}

function parse(lines, open, depth) {
  const found = [];
  for (let at = 0; at < lines.length; ) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const [node, end] = block(lines, at, open, depth);
    found.push({ line: at, node });
    at = end;
  }
  return found;
}

// A long list is parsed again with each token: its items that are complete give the same nodes as before, and
// patch.js passes over these.
const known = new Map();
let knownCharacters = 0;

function inline(text, open = false) {
  if (open) return inlineAnew(text, true);
  const before = known.get(text);
  if (before) return before;
  if (knownCharacters > MOST_KNOWN) {
    known.clear();
    knownCharacters = 0;
  }
  const found = inlineAnew(text);
  known.set(text, found);
  knownCharacters += text.length;
  return found;
}

const nodes = (lines, open, depth) => parse(lines, open, depth).map(({ node }) => node);
const isBlank = (line) => /^[ \t\r]*$/.test(line);
const isOpenAt = (lines, end, open) => open && end >= lines.length;

// One block: its node, and the line after it.
function block(lines, at, open, depth) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return code(lines, at, fence);
  if (RULE.test(line)) return [{ tag: "hr", children: [] }, at + 1];
  const heading = HEADING.exec(line);
  if (heading) {
    const text = line.slice(heading[0].length).trimEnd().replace(/(^|[ \t])#{1,100}$/, "").trim();
    return [headingOf(heading[1].length, inline(text, isOpenAt(lines, at + 1, open))), at + 1];
  }
  if (depth < MOST_DEPTH) {
    if (QUOTE.test(line)) return quote(lines, at, open, depth);
    if (ITEM.test(line)) return list(lines, at, open, depth);
  }
  return table(lines, at, open) ?? paragraph(lines, at, open, depth);
}

// All of one rank below the question: answers begin at any level and leave some out, which would mislead those
// who go from heading to heading.
const headingOf = (level, children) => ({ tag: "h3", attributes: { class: `level${level}`, dir: "auto" }, children });

function code(lines, at, [, indent, ticks, info]) {
  const content = [];
  let end = at + 1;
  for (; end < lines.length; end += 1) {
    const line = lines[end].trim();
    if (line.length >= ticks.length && line[0] === ticks[0] && line === ticks[0].repeat(line.length)) break;
    content.push(lines[end].slice(Math.min(indent.length, lines[end].length - lines[end].trimStart().length)));
  }
  const language = info.trim().split(/[\s{,]/)[0].slice(0, 30);
  const label = language ? `Code, ${language}` : "Code";
  const node = {
    tag: "div",
    attributes: { class: "code" },
    children: [
      {
        tag: "div",
        attributes: { class: "codehead" },
        children: [
          { tag: "span", children: [language || "code"] },
          { tag: "button", attributes: { type: "button", class: "copy", "data-copy": "code" }, children: ["Copy"] },
        ],
      },
      {
        tag: "pre",
        attributes: { tabindex: "0", role: "group", "aria-label": label, dir: "ltr" },
        children: [{ tag: "code", children: [content.join("\n")] }],
      },
    ],
  };
  return [node, Math.min(end + 1, lines.length)];
}

function quote(lines, at, open, depth) {
  const content = [];
  let end = at;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    if (QUOTE.test(line)) content.push(line.replace(/^ {0,3}> ?/, ""));
    else if (isBlank(line) || isBlank(content.at(-1)) || beginsBlock(line)) break;
    else content.push(line);
  }
  return [{ tag: "blockquote", children: nodes(content, isOpenAt(lines, end, open), depth + 1) }, end];
}

function list(lines, at, open, depth) {
  const first = ITEM.exec(lines[at]);
  const base = first[1].length;
  const isOrdered = /\d/.test(first[2]);
  const items = [];
  let end = at;
  while (end < lines.length) {
    const marker = ITEM.exec(lines[end]);
    if (!marker || RULE.test(lines[end]) || /\d/.test(marker[2]) !== isOrdered || marker[1].length >= base + 2) break;
    const content = [lines[end].slice(marker[0].length)];
    const width = marker[1].length + marker[2].length + 1;
    end += 1;
    let blanks = 0;
    for (; end < lines.length; end += 1) {
      const line = lines[end];
      if (isBlank(line)) {
        blanks += 1;
        continue;
      }
      const indent = line.length - line.trimStart().length;
      const isInside = indent >= Math.min(width, base + 2);
      if (!isInside && (blanks || beginsBlock(line))) break;
      for (; blanks; blanks -= 1) content.push("");
      content.push(line.slice(Math.min(indent, width)));
    }
    items.push({ tag: "li", children: item(content, isOpenAt(lines, end, open), depth) });
    if (blanks && end >= lines.length) break;
  }
  const start = Number.parseInt(first[2], 10);
  const attributes = { dir: "auto", ...(isOrdered && start !== 1 ? { start: String(start) } : {}) };
  return [{ tag: isOrdered ? "ol" : "ul", attributes, children: items }, end];
}

// The first paragraph of an item is its text itself: lists keep their look when a blank line comes.
function item(lines, open, depth) {
  const task = /^\[([ xX])\][ \t]/.exec(lines[0]);
  if (task) lines[0] = `${task[1] === " " ? "☐" : "☑"} ${lines[0].slice(task[0].length)}`;
  const [first, ...others] = nodes(lines, open, depth + 1);
  if (first?.tag !== "p") return first ? [first, ...others] : [];
  return [...first.children, ...others];
}

function table(lines, at, open) {
  if (!lines[at].includes("|") || at + 1 >= lines.length || !isDelimiters(lines[at + 1])) return null;
  const titles = cells(lines[at]);
  const sides = cells(lines[at + 1]).map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "middle" : "right") : null));
  if (titles.length !== sides.length || titles.length > MOST_COLUMNS) return null;
  const row = (tag, values, isOpen) => ({
    tag: "tr",
    children: titles.map((_, column) => ({
      tag,
      attributes: { dir: "auto", ...(tag === "th" ? { scope: "col" } : {}), ...(sides[column] ? { class: sides[column] } : {}) },
      children: inline(values[column] ?? "", isOpen),
    })),
  });
  const rows = [];
  let end = at + 2;
  for (; end < lines.length && !isBlank(lines[end]) && !beginsBlock(lines[end]); end += 1) {
    rows.push(row("td", cells(lines[end]), isOpenAt(lines, end + 1, open)));
  }
  const head = { tag: "thead", children: [row("th", titles, false)] };
  const whole = { tag: "table", children: [head, { tag: "tbody", children: rows }] };
  const attributes = { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" };
  return [{ tag: "div", attributes, children: [whole] }, end];
}

function isDelimiters(line) {
  if (line.length > MOST_DELIMITERS || !/^[ \t]*[|:-]/.test(line)) return false;
  return cells(line).every((cell) => DELIMITER.test(cell));
}

function cells(line) {
  const found = [];
  let cell = "";
  let isCode = false;
  const text = line.trim().replace(/^\|/, "");
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === "\\" && text[at + 1] === "|") {
      cell += "|";
      at += 1;
    } else if (text[at] === "|" && !isCode) {
      found.push(cell.trim());
      cell = "";
    } else {
      if (text[at] === "`") isCode = !isCode;
      cell += text[at];
    }
  }
  if (cell.trim()) found.push(cell.trim());
  return found;
}

function paragraph(lines, at, open, depth) {
  let end = at + 1;
  for (; end < lines.length && !isBlank(lines[end]); end += 1) {
    const line = lines[end];
    if (UNDERLINE.test(line)) {
      return [headingOf(line.includes("=") ? 1 : 2, inline(lines.slice(at, end).join("\n").trim())), end + 1];
    }
    if (beginsBlock(line, depth, true)) break;
    if (line.includes("|") && end + 1 < lines.length && isDelimiters(lines[end + 1])) break;
  }
  const text = lines.slice(at, end).map((line) => line.trimStart()).join("\n");
  return [{ tag: "p", attributes: { dir: "auto" }, children: inline(text.trimEnd(), isOpenAt(lines, end, open)) }, end];
}

// Whether a line begins a block of its own after a line of text. Numbers other than 1 may be a year there.
function beginsBlock(line, depth = 0, isInParagraph = false) {
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line)) return true;
  if (depth >= MOST_DEPTH) return false;
  if (QUOTE.test(line)) return true;
  const marker = ITEM.exec(line);
  if (marker === null || marker[3] === "") return false;
  return !isInParagraph || !/\d/.test(marker[2]) || Number.parseInt(marker[2], 10) === 1;
}
