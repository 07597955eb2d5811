// The page works without scripts. They add updates, sorting, searching, copying, times in the reader's zone.
import { follow } from "./live.js";
import { arrange, onInput, onSort } from "./tables.js";
import { localise, tick } from "./times.js";

// Applies this reader's choices to a document: the visible one, or one just fetched.
function enhance(page) {
  for (const element of page.querySelectorAll(".tools[hidden], .copy[hidden]")) element.hidden = false;
  localise(page);
  arrange(page);
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    say("Copied");
  } catch {
    button.textContent = "Select it";
    say("It can't be copied here: select the text");
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

// For screen readers.
function say(text) {
  document.getElementById("announce").textContent = text;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.copy) copy(button);
  else if (button?.closest("th")) { onSort(button); arrange(document); }
});
document.addEventListener("input", (event) => {
  if (event.target.dataset.search) { onInput(event.target); arrange(document); }
});

enhance(document);
tick();
setInterval(tick, 1000);
follow(enhance, say);
