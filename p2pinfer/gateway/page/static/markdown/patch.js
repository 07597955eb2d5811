// Makes elements show nodes ({tag, attributes, children} or a string), and changes only what differs: what is
// selected stays selected, and a long block that grows at its end costs little.
import { tame } from "../words.js";

const nodeOf = new WeakMap(); // element -> the node that it shows

function create(node) {
  if (typeof node === "string") return document.createTextNode(tame(node));
  const element = document.createElement(node.tag);
  for (const [name, value] of Object.entries(node.attributes ?? {})) element.setAttribute(name, value);
  for (const child of node.children) element.append(create(child));
  nodeOf.set(element, node);
  return element;
}

// Show a node at a place among the children of an element.
export function patch(parent, index, node) {
  const shown = parent.childNodes[index];
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
  if (element.tagName === "BUTTON") return; // it may say "Copied" now
  node.children.forEach((child, index) => patch(element, index, child));
  trim(element, node.children.length);
  nodeOf.set(element, node);
}

export function trim(element, length) {
  while (element.childNodes.length > length) element.lastChild.remove();
}

function setData(shown, text) {
  if (shown.data === text) return;
  if (text.length > shown.length && text.startsWith(shown.data)) shown.appendData(text.slice(shown.length));
  else shown.data = text;
}
