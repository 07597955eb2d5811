// Conversations as files.
import { download } from "../dom.js";
import { tame } from "../words.js";

export function exportMarkdown(conversation) {
  download(`${fileName(conversation.title)}.md`, "text/markdown", markdownOf(conversation));
}

export function exportJson(conversations, title) {
  download(`${fileName(title)}.json`, "application/json", JSON.stringify({ version: 1, conversations }, null, 2));
}

export function markdownOf(conversation) {
  const parts = [`# ${tame(conversation.title)}\n`];
  for (const { question, answer } of conversation.turns) {
    parts.push(`## Question\n\n${question.trim()}\n`);
    if (answer) parts.push(`## Answer${answer.model ? ` (${answer.model})` : ""}\n\n${answer.text.trim()}\n`);
  }
  return parts.join("\n");
}

function fileName(title) {
  return title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 50) || "conversation";
}
