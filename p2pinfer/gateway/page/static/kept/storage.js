// The browser's stores. They may be forbidden, full, or hold anything: callers get null or false, no exception.

const spare = { local: new Map(), session: new Map() }; // where the browser's own store is forbidden

class Store {
  constructor(kind) {
    this.spare = spare[kind];
    try {
      this.real = kind === "local" ? window.localStorage : window.sessionStorage;
    } catch { // cookies are forbidden
      this.real = null;
    }
  }

  get isLasting() {
    return this.real !== null;
  }

  get(name) {
    return this.real ? this.real.getItem(name) : (this.spare.get(name) ?? null);
  }

  // False: the store is full.
  set(name, text) {
    if (!this.real) {
      this.spare.set(name, text);
      return true;
    }
    try {
      this.real.setItem(name, text);
      return true;
    } catch {
      return false;
    }
  }

  remove(name) {
    if (this.real) this.real.removeItem(name);
    else this.spare.delete(name);
  }

  names() {
    return this.real ? Object.keys(this.real) : [...this.spare.keys()];
  }

  getJson(name) {
    try {
      return JSON.parse(this.get(name));
    } catch {
      return null;
    }
  }
}

const stores = {};
export const browserStore = (kind) => (stores[kind] ??= new Store(kind));
