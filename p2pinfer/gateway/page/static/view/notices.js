// Lines above the conversation about what goes on: offline, a full store, no models. One for each name.
import { button, byId, make } from "../dom.js";

export function showNotice(name, text, action = null) {
  hideNotice(name);
  const close = button("Close", () => hideNotice(name));
  const act = action && button(action.text, () => { hideNotice(name); action.run(); });
  byId("notices").append(make("div", { class: "notice", role: "alert", "data-name": name }, make("p", {}, text), act, close));
}

export function hideNotice(name) {
  byId("notices").querySelector(`[data-name="${name}"]`)?.remove();
}
