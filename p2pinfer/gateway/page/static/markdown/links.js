// Where a link may lead: the web and mail. Everything else (javascript:, data:, files) stays a text.

const SCHEMES = ["http:", "https:", "mailto:"];
const MOST_CHARACTERS = 2000;

export function safeUrl(text) {
  if (text.length > MOST_CHARACTERS || !/^(https?:\/\/|mailto:)/i.test(text)) return null;
  try {
    const url = new URL(text);
    return SCHEMES.includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

export function link(href, children) {
  return { tag: "a", attributes: { href, rel: "noopener noreferrer nofollow", target: "_blank" }, children };
}
