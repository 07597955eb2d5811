// The route of an answer as the gateway tells it, and as it is kept: checked once, here.

const MOST = 64; // hops, events, and peers of an event: more is nothing that anybody reads

const isCount = (value) => Number.isInteger(value) && value >= 0 && value < 1e6;
const figure = (value) => (Number.isFinite(value) && value >= 0 ? value : null);
const array = (value) => (Array.isArray(value) ? value.slice(0, MOST) : []);
const peers = (value) => array(value).filter((peer) => typeof peer === "string").map((peer) => peer.slice(0, 128));

// {hops: [{peer, first, end, milliseconds}], events: [{left, joined, seconds, after}], tokensPerSecond, cached}
export function routeOf(said) {
  if (said === null || typeof said !== "object") return null;
  const hops = array(said.hops)
    .filter((hop) => typeof hop?.peer === "string" && isCount(hop.first_layer) && isCount(hop.end_layer) && hop.first_layer < hop.end_layer)
    .map((hop) => ({
      peer: hop.peer.slice(0, 128),
      first: hop.first_layer,
      end: hop.end_layer,
      milliseconds: figure(hop.ms_per_token),
    }));
  const events = array(said.events)
    .filter((event) => event !== null && typeof event === "object")
    .map((event) => ({
      left: peers(event.left),
      joined: peers(event.joined),
      seconds: figure(event.seconds),
      after: figure(event.after_tokens),
    }));
  return { hops, events, tokensPerSecond: figure(said.tokens_per_second), cached: figure(said.cached_tokens) };
}

// The same, from a conversation that a browser kept.
export function keptRoute(kept) {
  return routeOf({
    hops: array(kept?.hops).map((hop) => ({ peer: hop?.peer, first_layer: hop?.first, end_layer: hop?.end, ms_per_token: hop?.milliseconds })),
    events: array(kept?.events).map((event) => ({ left: event?.left, joined: event?.joined, seconds: event?.seconds, after_tokens: event?.after })),
    tokens_per_second: kept?.tokensPerSecond,
    cached_tokens: kept?.cached,
  });
}
