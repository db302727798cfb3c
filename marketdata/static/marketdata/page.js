// The live page: one stream, one chart, one set of texts.

import { Chart } from "./chart.js";
import { aim, paintFeeds, reveal } from "./feeds.js";
import { openOf } from "./figures.js";
import { follow } from "./follow.js";
import { listen } from "./keys.js";
import { showLink } from "./link.js";
import { addEvent, paint, paintBackfill, paintConnections, paintSessions } from "./paint.js";
import { Stream } from "./stream.js";

const desk = document.querySelector("#desk");
const asked = (({ symbol, source, scope, timeframe }) => (
  { symbol, source, scope, timeframe }))(desk.dataset);
const LENGTHS = { "1m": 60, "3m": 180, "5m": 300, "15m": 900, "30m": 1800, "1h": 3600 };
const HISTORY = { "1m": 720, "3m": 720, "5m": 576, "15m": 384, "30m": 384, "1h": 336 };
const RELOAD_MS = 3000;
const TITLE_MS = 1000;
const BACKFILL_MS = 2000;
const OPEN_MS = 5000;

let context = null;
let chart = null;
let dayOpen = desk.dataset.dayOpen ? Number(desk.dataset.dayOpen) : null;
let titledAt = 0;
let drawnSeq = null;
let loads = 0;
let reloading = false;
let following = false;
let asking = false;
let refusal = "";

const query = (more = {}) => new URLSearchParams({ ...asked, ...more }).toString();
const pageUrl = (changes) => `${location.pathname}?${query(changes)}`;

async function ask(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

// ---- what arrives

const stream = new Stream(
  (message) => {
    if (message.type === "context") take(message);
    else if (message.type === "health") health(message);
    else if (message.type === "event") happened(message);
    else if (message.type === "error") refusal = message.detail;
  },
  (state) => {
    document.body.dataset.link = state;
    if (state === "opening") {
      context = null;
      drawnSeq = null;
    }
    if (state === "absent") takeStored();
    show();
  },
);
const show = () => showLink(stream, context?.health, refusal);

function take(fresh) {
  // What must be said about the data is said by the server.
  if (fresh.mode !== desk.dataset.mode) {
    location.reload();
    return;
  }
  const before = context;
  context = fresh;
  if (before === null) loadCandles();
  else if (filled(before) !== filled(fresh)) reloadSoon();
  if (fresh.precision === "backfilling") followBackfill();
  if (before && before.as_of.slice(0, 10) !== fresh.as_of.slice(0, 10)) newDay();
  if (fresh.scope === "day") dayOpen = openOf(fresh);
  else if (dayOpen === null) askOpen();
  if (!document.hidden) requestAnimationFrame(draw);
}

// Where nothing runs there are no pushes, but there may be stored trades.
async function takeStored() {
  const [stored, { candles }] = await Promise.all([
    ask(`/api/context?${query({ rows: 200 })}`),
    ask(`/api/strategy/candles?${query({ count: 2 })}`),
  ]);
  take({ ...stored, candles, seq: 0 });
}

function health(message) {
  paintConnections(message.connections);
  paintFeeds(message.connections);
  const own = message.connections.find((item) => (
    item.source === asked.source && item.symbol.split(",").includes(asked.symbol)));
  if (own && context) {
    context.health = { state: own.state, data_age_ms: own.last_message_age_ms };
    context.healthAt = performance.now();
  }
}

function happened(event) {
  addEvent(event, desk.dataset.proof);
  if (event.kind === "gap" || event.kind === "gap_closed") reloadSoon();
}

// What changes with trades that are not live.
const filled = ({ coverage }) => (
  `${coverage.missing} ${coverage.holes} ${coverage.left_out} ${coverage.held - (coverage.sources.live ?? 0)}`);

// Asks how far it is until it is over.
async function followBackfill() {
  if (following) return;
  following = true;
  const answer = await fetch("/ready").catch(() => null);
  const ready = await answer?.json().catch(() => null);
  if (ready) paintBackfill(ready);
  setTimeout(() => {
    following = false;
    if (ready?.backfill_status === "running") followBackfill();
  }, BACKFILL_MS);
}

function newDay() {
  loadSessions();
  dayOpen = null;
}

// The day's open may become known later: its first trade is still fetched, or nothing traded yet.
async function askOpen() {
  if (asking) return;
  asking = true;
  setTimeout(() => { asking = false; }, OPEN_MS);
  dayOpen = openOf(await ask(`/api/context?${query({ scope: "day", rows: 1 })}`));
}

// ---- what is drawn

function draw() {
  if (context === null || context.seq === drawnSeq) return;
  drawnSeq = context.seq;
  paint(context, dayOpen);
  chart?.update(context);
  show();
  if (performance.now() - titledAt > TITLE_MS) {
    titledAt = performance.now();
    const price = document.querySelector('[data-v="price"]').textContent;
    document.title = `${price} ${asked.symbol} · BotCrypto`;
  }
}

async function loadCandles() {
  if (chart === null) return;
  loads += 1;
  const mine = loads;
  const { timeframe } = asked;
  const path = `/api/strategy/candles?${query({ count: HISTORY[timeframe] ?? 300 })}`;
  const { candles } = await ask(path);
  if (mine !== loads) return;
  chart.load(candles, LENGTHS[timeframe]);
  if (context) chart.update(context);
}

// Refilled and newly missing trades change old candles; they come in bursts.
function reloadSoon() {
  if (reloading) return;
  reloading = true;
  setTimeout(() => {
    reloading = false;
    loadCandles();
  }, RELOAD_MS);
}

async function loadSessions() {
  const { sessions } = await ask(`/api/sessions?${query()}`);
  paintSessions(sessions, context?.as_of ?? desk.dataset.asOf, (scope) => pageUrl({ scope }));
  chart?.shade(sessions);
}

// ---- the chart library may still be on its way

async function openChart() {
  const box = document.querySelector("#chart");
  let library;
  try {
    library = await import(desk.dataset.library);
  } catch {
    setTimeout(waitForChart, RELOAD_MS);
    return;
  }
  document.body.classList.add("charted");
  chart = new Chart(library, box, {
    tick: Number(desk.dataset.tick),
    lot: Number(desk.dataset.lot),
    basis: desk.dataset.basis,
    legend: document.querySelector("#legend"),
  });
  await Promise.all([loadCandles(), loadSessions()]);
}

// A failed import stays failed for its URL, so the library is asked for by HEAD first.
async function waitForChart() {
  const answer = await fetch(desk.dataset.library, { method: "HEAD" }).catch(() => null);
  if (answer?.ok) location.reload();
  else setTimeout(waitForChart, RELOAD_MS);
}

// ---- switches

function choose(changes) {
  Object.assign(asked, changes);
  chart?.await();
  history.replaceState(null, "", pageUrl());
  for (const link of document.querySelectorAll("[data-scope], [data-timeframe]")) {
    const { scope, timeframe } = link.dataset;
    link.href = pageUrl(scope ? { scope } : { timeframe });
    if (!link.closest(".switch")) continue;
    const chosen = scope ? scope === asked.scope : timeframe === asked.timeframe;
    if (chosen) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  aim(pageUrl);
  stream.open(`/ws/context/?${query()}`);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-scope], a[data-timeframe]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  const { scope, timeframe } = link.dataset;
  choose(scope ? { scope } : { timeframe });
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  loadCandles();
  draw();
});

reveal();
const market = document.querySelector("#market");
if (market) follow(market);
listen({ choose, asked, reset: () => chart?.reset() });
setInterval(show, 250);
stream.open(`/ws/context/?${query()}`);
if (desk.dataset.chart === "ready") openChart();
else waitForChart();
