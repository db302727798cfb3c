// The badge: how fresh what you see is, in a word, a shape and an age.

const badge = document.querySelector("#link");
const word = badge?.querySelector("[data-link-word]");
const age = badge?.querySelector("[data-link-age]");
let known = null;
let knownAt = 0;

const WORDS = {
  opening: ["connecting", "◌"],
  waiting: ["reconnecting", "◌"],
  stale: ["stale", "▲"],
  absent: ["nothing runs here", "■"],
  refused: ["refused", "■"],
};
const VENUE = {
  live: ["live", "●"],
  connecting: ["venue connecting", "◌"],
  stale: ["venue silent", "▲"],
  backoff: ["venue reconnecting", "◌"],
  stopped: ["stopped", "■"],
};

export function ageText(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

function put(cell, text) {
  if (cell && cell.textContent !== text) cell.textContent = text;
}

export function showLink(stream, health, detail) {
  if (!badge) return;
  if (health && health !== known) {
    known = health;
    knownAt = performance.now();
  }
  const isOpen = stream.state === "open";
  const state = isOpen ? known?.state ?? "connecting" : stream.state;
  const [text, shape] = isOpen ? VENUE[state] ?? [state, "■"] : WORDS[state] ?? [state, "■"];
  badge.dataset.state = state;
  put(word, `${shape} ${text}${stream.state === "waiting" ? ` in ${stream.retryIn} s` : ""}`);
  const isKnown = known?.data_age_ms !== null && known?.data_age_ms !== undefined;
  if (state === "refused") put(age, detail ?? "");
  else put(age, isKnown ? `data ${ageText(known.data_age_ms + performance.now() - knownAt)} old` : "");
}
