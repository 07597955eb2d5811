// A text that grows, shown as Markdown in an element. Settled blocks are never parsed or touched again.
import { blocks } from "./blocks.js";
import { patch, trim } from "./patch.js";

export class Rendering {
  constructor(element) {
    this.element = element;
    this.clear();
  }

  clear() {
    this.text = "";
    this.settledLength = 0; // characters
    this.settledBlocks = 0;
    trim(this.element, 0);
  }

  // Show a text. It continues the one before, or replaces it. `open`: more will come.
  show(text, open = false) {
    const normal = text.replaceAll("\r\n", "\n").replaceAll("\0", "\ufffd");
    if (!normal.startsWith(this.text)) this.clear();
    this.text = normal;
    const found = blocks(normal.slice(this.settledLength), open);
    found.forEach(({ node }, index) => patch(this.element, this.settledBlocks + index, node));
    trim(this.element, this.settledBlocks + found.length);
    // A block that begins in the last line may yet turn out to go on with the one before it: `1` becomes `1. item`.
    const lastLine = normal.lastIndexOf("\n") + 1 - this.settledLength;
    const isSure = found.length > 0 && found.at(-1).start < lastLine;
    const settled = found.length - (isSure ? 1 : 2);
    if (settled > 0) {
      this.settledLength += found[settled].start;
      this.settledBlocks += settled;
    }
  }
}
