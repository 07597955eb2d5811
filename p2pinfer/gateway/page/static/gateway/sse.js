// Server-sent events from a fetch: bytes in, the texts of `data:` out. Cuts may fall anywhere, also in a character.

const MOST_CHARACTERS = 4_000_000; // of one event: more is no gateway's answer

export async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += value;
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield data.join("\n");
          data = [];
        } else if (line.startsWith("data:")) {
          data.push(line.slice(line[5] === " " ? 6 : 5));
        }
      }
      if (rest.length > MOST_CHARACTERS) throw new TypeError("an event without an end");
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
