// The gateway's API as the page uses it: which models there are, and one streamed answer.
import { readKey } from "./key.js";
import { Problem, problemInStream, problemOf, problemOfFetch } from "./problems.js";
import { routeOf } from "./route.js";
import { eventsOf } from "./sse.js";

function headers() {
  const key = readKey();
  return { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
}

export async function readModels() {
  let response;
  try {
    response = await fetch("/v1/models", { headers: headers() });
  } catch (error) {
    throw problemOfFetch(error, false);
  }
  if (!response.ok) throw await problemOf(response);
  const parsed = await response.json().catch(() => null);
  const ids = (Array.isArray(parsed?.data) ? parsed.data : []).map((model) => model?.id);
  return ids.filter((id) => typeof id === "string" && id);
}

// Yields {text}, {route}, {usage}, {finish} as they come. Throws a Problem; an AbortError if it is stopped.
export async function* streamAnswer({ model, messages, settings, signal }) {
  let hasBegun = false;
  try {
    const response = await fetch("/v1/chat/completions", {
      method: "POST",
      headers: headers(),
      signal,
      body: JSON.stringify({
        model,
        messages,
        ...settings,
        stream: true,
        stream_options: { include_usage: true },
        p2pinfer: { route: true },
      }),
    });
    if (!response.ok) throw await problemOf(response);
    hasBegun = true;
    let isEnded = false;
    for await (const data of eventsOf(response.body)) {
      if (data === "[DONE]") return;
      const event = parse(data);
      if (event.error) throw problemInStream(event.error);
      const route = routeOf(event.p2pinfer);
      if (route) yield { route };
      if (event.usage) yield { usage: usageOf(event.usage) };
      const choice = event.choices?.[0];
      if (typeof choice?.delta?.content === "string" && choice.delta.content) yield { text: choice.delta.content };
      if (typeof choice?.finish_reason === "string") {
        isEnded = true;
        yield { finish: choice.finish_reason };
      }
    }
    if (!isEnded) throw problemOfFetch(null, true);
  } catch (error) {
    if (error?.name === "AbortError") throw error;
    throw problemOfFetch(error, hasBegun);
  }
}

function parse(data) {
  let parsed = null;
  try {
    parsed = JSON.parse(data);
  } catch { /* told below */ }
  if (parsed === null || typeof parsed !== "object") {
    throw new Problem("broken", "The gateway sent something that isn't an answer.", "Is there another program at this address? Try again.");
  }
  return parsed;
}

const number = (value) => (Number.isFinite(value) && value >= 0 ? value : 0);

function usageOf(usage) {
  return {
    prompt: number(usage.prompt_tokens),
    completion: number(usage.completion_tokens),
    cached: number(usage.prompt_tokens_details?.cached_tokens),
  };
}
