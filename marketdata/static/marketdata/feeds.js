// The switcher of instruments: how each source's feed is, and links that carry the state.

// As `views/links.py` has them.
const FEEDS = {
  live: "● live", connecting: "◌ connecting", stale: "▲ silent", backoff: "◌ reconnecting",
  stopped: "■ stopped", stored: "■ stored",
};
const WORST_FIRST = ["stopped", "backoff", "connecting", "stale", "live"];

// A feed is as its worst connection is.
export function paintFeeds(connections) {
  const states = new Map();
  for (const { source, state } of connections) {
    const before = states.get(source);
    if (!before || WORST_FIRST.indexOf(state) < WORST_FIRST.indexOf(before)) {
      states.set(source, state);
    }
  }
  for (const label of document.querySelectorAll("[data-feed]")) {
    const state = states.get(label.dataset.feed) ?? "stored";
    if (label.dataset.state === state) continue;
    label.dataset.state = state;
    label.querySelector("b").textContent = FEEDS[state] ?? state;
  }
}

// The links go on to the same scope and timeframe as are shown now.
export function aim(url) {
  for (const link of document.querySelectorAll(".instruments [data-symbol]")) {
    const { symbol, source } = link.dataset;
    link.href = url({ symbol, source });
  }
}

// Where the switcher scrolls, the instrument shown should be in sight.
export function reveal() {
  const chosen = document.querySelector(".instruments [aria-current]");
  const box = chosen?.closest(".instruments");
  if (!box || box.scrollWidth <= box.clientWidth) return;
  const away = chosen.getBoundingClientRect().left - box.getBoundingClientRect().left;
  box.scrollLeft += away - (box.clientWidth - chosen.offsetWidth) / 2;
}
