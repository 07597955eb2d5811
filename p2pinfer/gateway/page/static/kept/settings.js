// The reader's settings, in this browser. What isn't set is left to the gateway.
import { browserStore } from "./storage.js";

const NAME = "p2pinfer.chat.settings";

// Without a choice: the API's own default, 1, makes small models ramble.
export const USUAL_TEMPERATURE = 0.6;

// What may be set, in the API's names.
export const NUMBERS = {
  temperature: { least: 0, most: 2, isWhole: false },
  top_p: { least: 0, most: 1, isWhole: false },
  max_completion_tokens: { least: 1, most: 1_000_000, isWhole: true },
  seed: { least: 0, most: 2 ** 53 - 1, isWhole: true },
};

// {model, system, numbers: {temperature, ...}}
export function readSettings() {
  const kept = browserStore("local").getJson(NAME);
  const numbers = {};
  for (const [name, bounds] of Object.entries(NUMBERS)) {
    const value = kept?.numbers?.[name];
    if (isWithin(value, bounds)) numbers[name] = value;
  }
  return {
    model: typeof kept?.model === "string" ? kept.model : "",
    system: typeof kept?.system === "string" ? kept.system : "",
    numbers,
  };
}

export const keepSettings = (settings) => browserStore("local").set(NAME, JSON.stringify(settings));

function isWithin(value, { least, most, isWhole }) {
  return Number.isFinite(value) && value >= least && value <= most && (!isWhole || Number.isInteger(value));
}

// The number that a field's text says: undefined if it is empty, null if it is wrong.
export function numberOf(name, text) {
  if (text.trim() === "") return undefined;
  const value = Number(text.trim().replace(",", "."));
  return isWithin(value, NUMBERS[name]) ? value : null;
}
