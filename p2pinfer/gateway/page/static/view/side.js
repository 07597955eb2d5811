// The list of conversations: open, rename, export, delete. On a phone it is a drawer.
import { button, byId, make } from "../dom.js";
import { tame } from "../words.js";

export class Side {
  // `actions`: {open(id), create(), rename(id), exportMarkdown(id), exportJson(id), remove(id)}
  constructor(actions) {
    this.actions = actions;
    this.list = byId("conversations");
    this.menu = null;
    byId("new").addEventListener("click", () => { this.close(); actions.create(); });
    byId("open-side").addEventListener("click", () => this.open());
    byId("close-side").addEventListener("click", () => this.close());
    byId("veil").addEventListener("click", () => this.close());
  }

  get isOpen() {
    return byId("side").classList.contains("isopen");
  }

  open() {
    byId("side").classList.add("isopen");
    byId("veil").hidden = false;
    byId("frame").inert = true;
    byId("open-side").setAttribute("aria-expanded", "true");
    byId("close-side").focus();
  }

  // False: it wasn't open.
  close() {
    if (!this.isOpen) return false;
    byId("side").classList.remove("isopen");
    byId("veil").hidden = true;
    byId("frame").inert = false;
    byId("open-side").setAttribute("aria-expanded", "false");
    byId("open-side").focus();
    return true;
  }

  show(conversations, current) {
    const focused = document.activeElement?.closest?.("li")?.dataset.id;
    this.list.replaceChildren(...conversations.map(({ id, title }) => this.row(id, tame(title), id === current)));
    if (focused && this.list.contains(document.activeElement) === false) {
      this.list.querySelector(`li[data-id="${CSS.escape(focused)}"] .open`)?.focus();
    }
  }

  row(id, title, isCurrent) {
    const open = button(title, () => { this.close(); this.actions.open(id); }, {
      class: "open", dir: "auto", "aria-current": isCurrent ? "true" : null,
    });
    const more = button("⋯", () => this.openMenu(id, more), { class: "quiet more", "aria-haspopup": "true", "aria-label": `More about ${title}` });
    return make("li", { "data-id": id }, open, more);
  }

  // The browser closes a popover at Esc and at a click elsewhere, and gives the focus back.
  openMenu(id, more) {
    this.menu?.remove();
    const entry = (text, run, attributes) => button(text, () => { this.menu.hidePopover(); run(id); }, attributes);
    this.menu = make(
      "div", { class: "menu", popover: "auto", role: "group", "aria-label": "This conversation" },
      entry("Rename", this.actions.rename),
      entry("Export as Markdown", this.actions.exportMarkdown),
      entry("Export as JSON", this.actions.exportJson),
      entry("Delete", this.actions.remove, { class: "danger" }),
    );
    more.after(this.menu);
    this.menu.showPopover();
    const at = more.getBoundingClientRect();
    const { width, height } = this.menu.getBoundingClientRect();
    this.menu.style.left = `${Math.max(8, Math.min(at.left, innerWidth - width - 8))}px`;
    this.menu.style.top = `${Math.max(8, Math.min(at.bottom + 4, innerHeight - height - 8))}px`;
    this.menu.firstChild.focus();
  }
}
