// An error beside an answer: what happened, what to do, a button. A busy swarm's wait is counted down.
import { button, make, setText } from "../dom.js";

const MOST_AUTOMATIC = 5;

export class ProblemView {
  // `actions`: {onRetry(isAutomatic), onKey()}; null: only the words.
  constructor(problem, actions) {
    this.element = make("div", { class: "problem" }, make("h3", {}, problem.title), make("p", {}, problem.advice));
    if (!actions) return;
    const { onRetry, onKey } = actions;
    const row = make("div", { class: "row" });
    if (problem.kind === "key") row.append(button("Enter the key", onKey, { class: "main" }));
    else if (problem.canRetry) row.append(button("Try again", () => onRetry(false), { class: "main" }));
    if (problem.retryAt && (problem.attempts ?? 0) < MOST_AUTOMATIC) {
      this.wait = make("span", { class: "note" });
      row.append(this.wait);
      this.timer = setInterval(() => this.tick(problem.retryAt, onRetry), 250);
      this.tick(problem.retryAt, onRetry);
    }
    if (row.childElementCount) this.element.append(row);
  }

  tick(retryAt, onRetry) {
    const left = Math.ceil((retryAt - Date.now()) / 1000);
    if (left > 0) {
      setText(this.wait, `Tries again by itself in ${left} s`);
    } else {
      this.stop();
      onRetry(true);
    }
  }

  stop() {
    clearInterval(this.timer);
  }
}
