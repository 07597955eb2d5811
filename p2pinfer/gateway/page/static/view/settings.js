// The dialog of the settings.
import { byId } from "../dom.js";
import { NUMBERS, keepSettings, numberOf, readSettings } from "../kept/settings.js";
import { ask } from "./dialogs.js";

const NAMES = { temperature: "Temperature", top_p: "Top p", max_completion_tokens: "Most tokens", seed: "Seed" };

export async function askSettings() {
  const settings = readSettings();
  byId("system").value = settings.system;
  for (const name of Object.keys(NUMBERS)) {
    byId(name).value = settings.numbers[name] ?? "";
    byId(name).removeAttribute("aria-invalid");
  }
  byId("settings-wrong").hidden = true;
  const read = await ask("settings", { cancel: "cancel-settings", read: readFields, opened: () => byId("system").focus() });
  if (read) keepSettings({ ...readSettings(), ...read });
}

function readFields() {
  const numbers = {};
  let wrong = null;
  for (const [name, { least, most, isWhole }] of Object.entries(NUMBERS)) {
    const value = numberOf(name, byId(name).value);
    byId(name).toggleAttribute("aria-invalid", false);
    if (value === null) {
      byId(name).setAttribute("aria-invalid", "true");
      wrong ??= [name, `${NAMES[name]} is a ${isWhole ? "whole number" : "number"} from ${least} to ${most}.`];
    } else if (value !== undefined) {
      numbers[name] = value;
    }
  }
  byId("settings-wrong").hidden = wrong === null;
  if (wrong) {
    byId("settings-wrong").textContent = wrong[1];
    byId(wrong[0]).focus();
    return undefined;
  }
  return { system: byId("system").value, numbers };
}
