// What went wrong, in words, and what to do about it.

export class Problem extends Error {
  // kind: "key" | "busy" | "offline" | "gone" | "refused" | "swarm" | "broken"
  constructor(kind, title, advice, { retryAfter = null, canRetry = true } = {}) {
    super(title);
    this.kind = kind;
    this.title = title;
    this.advice = advice;
    this.retryAfter = retryAfter; // seconds
    this.canRetry = canRetry;
  }
}

const MOST_CHARACTERS = 600;

export async function problemOf(response) {
  const said = await messageOf(response);
  const after = retryAfter(response.headers.get("retry-after"));
  switch (response.status) {
    case 401:
      return new Problem("key", "This gateway wants a key.", said || "Ask the gateway's owner for one.");
    case 403:
      return new Problem("refused", "The gateway doesn't allow this.", said || "Ask the gateway's owner.");
    case 404:
      return new Problem("refused", "The gateway doesn't serve this model.", said || "Choose another model above.");
    case 413:
      return new Problem("refused", "The conversation is too long.", said || "Begin a new one.", { canRetry: false });
    case 429:
      return new Problem("busy", "The swarm is busy.", said || "Others are being answered.", { retryAfter: after ?? 5 });
    case 502:
    case 503:
    case 504:
      return new Problem("swarm", "The swarm can't answer now.", said || "Some layers have no server. Try again in a while.", { retryAfter: after });
    default:
      if (response.status < 500) {
        return new Problem("refused", "The gateway refused this request.", said || `It said ${response.status}. Check the settings.`);
      }
      return new Problem("broken", "The gateway made an error.", said || `It said ${response.status}. Try again.`);
  }
}

// The error event in the middle of an answer.
export function problemInStream(error) {
  const said = clean(error?.message);
  return new Problem("swarm", "The answer broke off.", said || "No server could go on with it. Try again.");
}

// What fetch throws, and what reading a body throws.
export function problemOfFetch(error, hasBegun) {
  if (error instanceof Problem) return error;
  if (!navigator.onLine) {
    return new Problem("offline", "This device is offline.", "What came is kept. Try again when you are back.");
  }
  if (hasBegun) {
    return new Problem("gone", "The connection to the gateway broke.", "What came is kept. The gateway may have been restarted: try again.");
  }
  return new Problem("gone", "The gateway doesn't answer.", "It may be stopped or restarting. Check that it runs, then try again.");
}

async function messageOf(response) {
  try {
    const parsed = JSON.parse((await response.text()).slice(0, 100_000));
    return clean(parsed?.error?.message ?? parsed?.error ?? parsed?.detail);
  } catch { // a proxy's page, or nothing
    return "";
  }
}

function clean(message) {
  if (typeof message !== "string") return "";
  return message.length > MOST_CHARACTERS ? `${message.slice(0, MOST_CHARACTERS)}…` : message;
}

function retryAfter(header) {
  if (!header) return null;
  const seconds = /^\d+(\.\d+)?$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.min(Math.max(Math.ceil(seconds), 1), 3600) : null;
}
