// Makes elements show nodes ({tag, attributes, children} or a string), and changes only what differs: what is
// selected stays selected, and a long block that grows at its end costs little.
import { tame } from "../words.js";

const nodeOf = new WeakMap(); // element -> the node that it shows

function create(node) {
  if (typeof node === "string") return document.createTextNode(tame(node));
  const element = document.createElement(node.tag);
  for (const child of node.children) element.append(create(child));
  // Afterwards: with dir="auto" each child that is added would be searched for its direction.
  for (const [name, value] of Object.entries(node.attributes ?? {})) element.setAttribute(name, value);
  nodeOf.set(element, node);
  return element;
}

// Show a node at a place among the children of an element.
export function patch(parent, index, node) {
  patchOne(parent, parent.childNodes[index], node);
}

function patchOne(parent, shown, node) {
  if (!shown) parent.append(create(node));
  else if (typeof node === "string" && shown.nodeType === Node.TEXT_NODE) setData(shown, tame(node));
  else if (canBecome(shown, node)) patchChildren(shown, node);
  else shown.replaceWith(create(node));
}

function canBecome(shown, node) {
  const before = nodeOf.get(shown);
  return (
    before !== undefined && typeof node !== "string" && before.tag === node.tag &&
    JSON.stringify(before.attributes) === JSON.stringify(node.attributes)
  );
}

function patchChildren(element, node) {
  const before = nodeOf.get(element);
  if (before.children === node.children || element.tagName === "BUTTON") return; // which may say "Copied" now
  nodeOf.set(element, node);
  let shown = element.firstChild;
  for (const child of node.children) {
    const next = shown?.nextSibling ?? null;
    if (!shown || nodeOf.get(shown) !== child) patchOne(element, shown, child);
    shown = next;
  }
  trim(element, node.children.length);
}

export function trim(element, length) {
  while (element.childNodes.length > length) element.lastChild.remove();
}

function setData(shown, text) {
  if (shown.data === text) return;
  if (text.length > shown.length && text.startsWith(shown.data)) shown.appendData(text.slice(shown.length));
  else shown.data = text;
}
