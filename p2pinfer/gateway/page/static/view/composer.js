// The field for the question, with its two buttons.
import { byId } from "../dom.js";

export class Composer {
  // `actions`: {ask(text) -> whether it was taken, stop()}
  constructor(actions) {
    this.actions = actions;
    this.field = byId("question");
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    byId("stop").addEventListener("click", () => actions.stop());
    this.field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    // Where CSS can't do it (field-sizing).
    if (!CSS.supports("field-sizing", "content")) this.field.addEventListener("input", () => this.resize());
  }

  send() {
    const text = this.field.value;
    if (!text.trim() || !this.actions.ask(text)) return;
    this.field.value = "";
    this.resize();
  }

  resize() {
    if (CSS.supports("field-sizing", "content")) return;
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  // The focus stays on the button's place.
  showStreaming(isStreaming) {
    const [shown, hidden] = isStreaming ? [byId("stop"), byId("send")] : [byId("send"), byId("stop")];
    const hadFocus = document.activeElement === hidden;
    shown.hidden = false;
    hidden.hidden = true;
    if (hadFocus) (isStreaming ? shown : this.field).focus();
  }

  focus() {
    // On a phone the keyboard would cover the page.
    if (matchMedia("(pointer: fine)").matches) this.field.focus();
  }
}
