// Questions to the reader. Each returns a promise; null: cancelled. The browser's own dialog keeps the focus inside.
import { byId } from "../dom.js";

// Opens a dialog; `read` says what its form has, undefined: not yet.
export function ask(name, { cancel, read, opened }) {
  const dialog = byId(name);
  return new Promise((resolve) => {
    const form = dialog.querySelector("form");
    const settle = (value) => {
      ending.abort();
      if (dialog.open) dialog.close();
      resolve(value);
    };
    const ending = new AbortController();
    const { signal } = ending;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = read();
      if (value !== undefined) settle(value);
    }, { signal });
    byId(cancel).addEventListener("click", () => settle(null), { signal });
    dialog.addEventListener("close", () => settle(null), { signal });
    if (!dialog.open) dialog.showModal();
    opened?.(signal, settle);
  });
}

export function askSure(title, note, yes) {
  byId("sure-title").textContent = title;
  byId("sure-note").textContent = note;
  byId("sure-yes").textContent = yes;
  return ask("sure", { cancel: "sure-no", read: () => true, opened: () => byId("sure-no").focus() });
}

export function askName(name) {
  const field = byId("rename-field");
  field.value = name;
  return ask("rename", { cancel: "cancel-rename", read: () => field.value.trim() || undefined, opened: () => field.select() });
}

// {key, stays}; key "" forgets it.
export function askKey() {
  const field = byId("key-field");
  field.value = "";
  return ask("key", {
    cancel: "cancel-key",
    read: () => (field.value.trim() ? { key: field.value.trim(), stays: byId("key-stays").checked } : undefined),
    opened: (signal, settle) => {
      byId("forget-key").addEventListener("click", () => settle({ key: "", stays: false }), { signal });
      field.focus();
    },
  });
}
