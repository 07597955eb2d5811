// Numbers and names as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

// The end of a peer's id is enough to tell peers apart. The health page shows the same six characters.
export const shortId = (peer) => `…${peer.slice(-6)}`;

// Layers are half-open on the wire; people read the last one too.
export const layers = (hop) => (hop.end - hop.first === 1 ? `${hop.first}` : `${hop.first}–${hop.end - 1}`);

export const count = (number) => whole.format(number);

export const rate = (number) => (number < 99.95 ? tenth : whole).format(number);

export const milliseconds = (number) => `${(number < 9.95 ? tenth : whole).format(number)} ms`;

export const seconds = (number) => `${(number < 9.95 ? tenth : whole).format(number)} s`;

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function list(names) {
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

// Characters that change the direction of what follows can make code read as what it isn't. They are shown.
const OVERRIDES = /[\u202a-\u202e\u2066-\u2069]/g;
export const tame = (text) => text.replace(OVERRIDES, "\ufffd");
