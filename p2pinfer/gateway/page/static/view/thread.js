// The conversation that is shown. What streams is drawn at most once a frame, and less often if that takes long.
import { byId, button, make } from "../dom.js";
import { AnswerReader, announce } from "./reader.js";
import { TurnView } from "./turn.js";

const TRIES = ["Why is the sky blue?", "Write a table of the four largest oceans.", "Show how to reverse a list in Python."];
const NEAR_PIXELS = 80;
const REST = 3; // drawing takes at most a quarter of the time

export class Thread {
  // `actions`: {ask(text), retry(isAutomatic), edit(text), key()}
  constructor(actions, demo) {
    this.actions = actions;
    this.demo = demo;
    this.main = byId("main");
    this.element = byId("thread");
    this.toEnd = byId("to-end");
    this.views = [];
    this.reader = null;
    this.isFollowing = true;
    this.isWanted = false;
    this.notBefore = 0;
    this.main.addEventListener("scroll", () => this.onScroll(), { passive: true });
    this.toEnd.addEventListener("click", () => this.scrollToEnd());
    new ResizeObserver(() => this.follow()).observe(this.main);
  }

  // Show a conversation from the beginning.
  open(conversation) {
    this.conversation = conversation;
    this.views.forEach((view) => view.stop());
    this.views = [];
    this.reader = null;
    this.element.replaceChildren();
    this.draw();
    this.scrollToEnd();
  }

  // The turns may have changed in number: views are kept for those that are the same.
  draw() {
    const { turns } = this.conversation;
    while (this.views.length && this.views.at(-1).turn !== turns[this.views.length - 1]) {
      const view = this.views.pop();
      view.stop();
      view.element.remove();
    }
    this.element.querySelector(".empty")?.remove();
    if (!turns.length) this.element.append(this.emptyState());
    for (const turn of turns.slice(this.views.length)) {
      const view = new TurnView(turn, this.actions, this.demo);
      this.views.push(view);
      this.element.append(view.element);
    }
    this.views.forEach((view, index) => {
      view.show(index === turns.length - 1);
    });
    this.follow();
  }

  // Something came of the last answer: draw it soon.
  grow() {
    if (this.isWanted) return;
    this.isWanted = true;
    const draw = () => {
      if (performance.now() < this.notBefore) requestAnimationFrame(draw);
      else this.drawLast();
    };
    requestAnimationFrame(draw);
    if (document.hidden) setTimeout(() => this.drawLast(), 500); // hidden tabs have no frames
  }

  drawLast() {
    if (!this.isWanted) return;
    this.isWanted = false;
    const view = this.views.at(-1);
    if (!view?.turn.answer) return;
    const began = performance.now();
    const happened = view.show(true);
    this.follow();
    const took = performance.now() - began;
    this.notBefore = took > 4 ? began + took * (REST + 1) : 0;
    happened.forEach(announce);
    if (view.turn.answer.state === "streaming") {
      this.reader ??= new AnswerReader();
      this.reader.show(view.turn.answer.text);
    }
  }

  // The last answer has ended.
  end(answer) {
    this.draw();
    this.reader?.end(answer.text);
    this.reader = null;
    announce({ done: "The answer is complete", length: "The answer is complete", stopped: "Stopped" }[answer.state] ?? `${answer.problem?.title ?? ""} ${answer.problem?.advice ?? ""}`);
  }

  onScroll() {
    const { scrollHeight, scrollTop, clientHeight } = this.main;
    this.isFollowing = scrollHeight - scrollTop - clientHeight < NEAR_PIXELS;
    this.toEnd.hidden = this.isFollowing;
  }

  follow() {
    if (this.isFollowing) this.main.scrollTop = this.main.scrollHeight;
  }

  scrollToEnd() {
    this.isFollowing = true;
    this.toEnd.hidden = true;
    this.follow();
  }

  emptyState() {
    const tries = TRIES.map((text) => make("li", {}, button(text, () => this.actions.ask(text))));
    return make(
      "div", { class: "empty" }, stair(),
      make("h2", {}, "Ask the swarm"),
      make("p", {}, "People's machines each hold some layers of the model. Every word of the answer passes through several of them, and you see which."),
      make("ul", { class: "tries", "aria-label": "Questions to begin with" }, ...tries),
    );
  }
}

function stair() {
  const namespace = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(namespace, "svg");
  picture.setAttribute("viewBox", "0 0 416 64");
  picture.setAttribute("class", "stair");
  picture.setAttribute("aria-hidden", "true");
  const bricks = [[0, 0, 168, ""], [236, 0, 84, "faint"], [110, 24, 168, ""], [0, 24, 70, "faint"], [248, 48, 168, ""], [120, 48, 96, "faint"]];
  for (const [x, y, width, name] of bricks) {
    const brick = document.createElementNS(namespace, "rect");
    for (const [key, value] of Object.entries({ x, y, width, height: 14, rx: 4, class: name })) brick.setAttribute(key, value);
    picture.append(brick);
  }
  return picture;
}
