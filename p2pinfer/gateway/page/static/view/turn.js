// One question and its answer on the page.
import { button, copyText, make, setText } from "../dom.js";
import { Rendering } from "../markdown/rendering.js";
import { plural, seconds, tame } from "../words.js";
import { ProblemView } from "./problem.js";
import { RouteView } from "./route.js";

export class TurnView {
  // `actions`: {retry(isAutomatic), edit(question), key()}; `demo`: see route.js.
  constructor(turn, actions, demo) {
    this.turn = turn;
    this.actions = actions;
    this.question = make("div", { class: "question" });
    this.prose = make("div", { class: "prose" });
    this.rendering = new Rendering(this.prose);
    this.waitingFor = make("span");
    this.waiting = make("p", { class: "waiting", hidden: true }, steps(), this.waitingFor);
    this.outcome = make("p", { class: "outcome", hidden: true });
    this.problem = null;
    this.copy = button("Copy answer", () => copyText(tame(this.turn.answer.text), this.copy));
    this.retry = button("Try again", () => actions.retry(false));
    this.editing = button("Edit the question", () => this.edit());
    this.quiets = make("div", { class: "quiets" }, this.copy, this.retry, this.editing);
    this.route = new RouteView(demo);
    this.text = make("div", {}, this.waiting, this.prose, this.outcome, this.quiets);
    this.element = make("article", { class: "turn" }, this.question, make("div", { class: "answer" }, this.text, this.route.element));
    this.showQuestion();
  }

  showQuestion() {
    const isLong = this.turn.question.length > 1500; // it scrolls, so the keyboard must reach it
    this.question.replaceChildren(make("h2", { dir: "auto", tabindex: isLong ? "0" : null }, tame(this.turn.question)));
  }

  get isEdited() {
    return this.question.querySelector("textarea") !== null;
  }

  edit() {
    const field = make("textarea", { "aria-label": "The question, edited", dir: "auto" });
    field.value = this.turn.question;
    const done = () => {
      this.showQuestion();
      this.editing.hidden = false;
      this.editing.focus();
    };
    const save = () => {
      if (field.value.trim()) this.actions.edit(field.value);
    };
    field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") {
        event.stopPropagation();
        done();
      } else if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        save();
      }
    });
    const row = make("div", { class: "row" }, button("Ask again", save, { class: "main" }), button("Cancel", done));
    this.question.replaceChildren(make("div", { class: "editing" }, field, row));
    this.editing.hidden = true;
    field.focus();
  }

  // Returns the texts of what happened on the route since the last time.
  show(isLast) {
    const { answer } = this.turn;
    const isLive = answer?.state === "streaming";
    setText(this.waitingFor, answer?.route?.hops.length ? "The servers read the conversation" : "Finding a route through the swarm");
    this.waiting.hidden = !isLive || answer.text !== "";
    this.prose.hidden = !answer?.text;
    if (answer) this.rendering.show(answer.text, isLive);
    this.element.setAttribute("aria-busy", String(isLive));
    this.showProblem(answer?.state === "failed" ? answer.problem : null, isLast);
    const text = outcomeText(answer);
    setText(this.outcome, text);
    this.outcome.hidden = !text;
    this.copy.hidden = !answer?.text || isLive;
    this.retry.hidden = !isLast || isLive || answer?.state === "failed";
    this.editing.hidden = !isLast || isLive || this.isEdited;
    return this.route.show(answer?.route ?? null, answer?.usage, isLive);
  }

  // Only the last answer can be made again: earlier ones have no buttons, and no wait that is counted down.
  showProblem(problem, isLast) {
    if (problem === this.problem && isLast === this.isLast) return;
    this.problem = problem;
    this.isLast = isLast;
    this.problemView?.stop();
    this.problemView?.element.remove();
    const actions = isLast ? { onRetry: this.actions.retry, onKey: this.actions.key } : null;
    this.problemView = problem && new ProblemView(problem, actions);
    if (problem) this.prose.after(this.problemView.element);
  }

  stop() {
    this.problemView?.stop();
  }
}

function outcomeText(answer) {
  if (!answer || answer.state === "streaming") return "";
  const took = answer.usage?.completion && answer.seconds
    ? `${plural(answer.usage.completion, "token")} in ${seconds(answer.seconds)}`
    : "";
  const how = { stopped: "Stopped.", length: "It ended at the greatest number of tokens.", done: answer.text ? "" : "The answer is empty." }[answer.state] ?? "";
  return [how, took].filter(Boolean).join(" ");
}

function steps() {
  const stair = make("span", { class: "steps", "aria-hidden": "true" });
  for (const at of [1, 2, 3]) {
    const step = make("i");
    step.style.setProperty("--at", String(at));
    stair.append(step);
  }
  return stair;
}
