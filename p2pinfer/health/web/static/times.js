// The server sends times in UTC; the page shows them in the reader's zone.
const time = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const formats = {
  clock: new Intl.DateTimeFormat(undefined, { ...time, second: "2-digit" }),
  today: new Intl.DateTimeFormat(undefined, time),
  day: new Intl.DateTimeFormat(undefined, { ...time, day: "numeric", month: "short" }),
};
const OLD_SECONDS = 120;
let behind = 0; // milliseconds by which this machine's clock is behind the server's

export function setServerTime(milliseconds) {
  if (Number.isFinite(milliseconds)) behind = milliseconds - Date.now();
}

export function localise(page) {
  for (const element of page.querySelectorAll("time[data-time]")) {
    const at = new Date(element.dateTime);
    const isToday = at.toDateString() === new Date(Date.now() + behind).toDateString();
    const format = element.dataset.time === "day" && isToday ? "today" : element.dataset.time;
    element.textContent = formats[format].format(at);
  }
}

// Shows the page's age every second, and a warning when it is out of date.
export function tick() {
  const asof = document.getElementById("asof");
  const at = Date.parse(asof.dataset.at);
  if (!Number.isFinite(at)) return;
  const seconds = Math.max(0, Math.round((Date.now() + behind - at) / 1000));
  document.getElementById("age").textContent = `, ${inWords(seconds)} ago`;
  if (seconds > OLD_SECONDS) document.getElementById("stale").hidden = false;
}

function inWords(seconds) {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
