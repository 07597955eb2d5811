// The gateway's key: for this tab by default, on this device if the reader wants that.
import { browserStore } from "../kept/storage.js";

const NAME = "p2pinfer.chat.key";

export const readKey = () => browserStore("session").get(NAME) ?? browserStore("local").get(NAME);

export function keepKey(key, onThisDevice) {
  forgetKey();
  browserStore(onThisDevice ? "local" : "session").set(NAME, key);
}

export function forgetKey() {
  for (const kind of ["session", "local"]) browserStore(kind).remove(NAME);
}
