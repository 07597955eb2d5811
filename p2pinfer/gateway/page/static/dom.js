// Makes elements. Texts become text nodes: nothing here, or anywhere in the page, parses markup.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

export function button(text, onclick, attributes = {}) {
  return make("button", { type: "button", onclick, ...attributes }, text);
}

// Sets a text only if it differs: screen readers and layout notice each write.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Shows on a button for a moment that its work is done.
export function flash(element, text) {
  const before = element.dataset.before ?? element.textContent;
  element.dataset.before = before;
  element.textContent = text;
  clearTimeout(Number(element.dataset.timer));
  element.dataset.timer = setTimeout(() => { element.textContent = before; }, 1600);
}

export async function copyText(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    flash(element, "Copied");
    return true;
  } catch { // no permission, or not a secure context
    flash(element, "Select it");
    return false;
  }
}

export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
