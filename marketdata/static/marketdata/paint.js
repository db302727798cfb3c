// Texts into the page, only where they changed, only as text.

import {
  backfillText, clock, connectionText, eventText, figures, ladder, lastPrice, span,
} from "./figures.js";

const EVENTS = 12;
const cells = new Map();
for (const cell of document.querySelectorAll("[data-v]")) {
  cells.set(cell.dataset.v, [...(cells.get(cell.dataset.v) ?? []), cell]);
}

function write(cell, text) {
  if (cell.textContent !== text) cell.textContent = text;
}

function mark(cell, side) {
  if (side && cell.dataset.side !== side) cell.dataset.side = side;
}

export function paint(context, dayOpen) {
  const last = lastPrice(context);
  for (const [name, { text, side }] of Object.entries(figures(context, dayOpen, last))) {
    for (const cell of cells.get(name) ?? []) {
      write(cell, text);
      mark(cell, side);
    }
  }
  paintLadder(ladder(context, last));
  paintBars(context);
}

export function paintBackfill(ready) {
  for (const cell of cells.get("backfill") ?? []) write(cell, backfillText(ready));
}

const table = document.querySelector("#ladder tbody");
const rows = new Map([...(table?.rows ?? [])].map((row) => [row.dataset.level, row]));
let order = [...rows.keys()].join();

function paintLadder(levels) {
  for (const { name, price, distance, share } of levels) {
    const row = rows.get(name);
    write(row.cells[1], price);
    write(row.cells[2], distance.text);
    mark(row.cells[2], distance.side);
    write(row.cells[3], share);
  }
  const names = levels.map(({ name }) => name);
  if (names.join() !== order) {
    order = names.join();
    table.append(...names.map((name) => rows.get(name)));
  }
}

function paintBars(context) {
  const part = (name, value) => {
    const bar = document.querySelector(`[data-bar="${name}"]`);
    if (bar) bar.value = value;
  };
  const start = Date.parse(context.session.start);
  const end = Date.parse(context.session.end);
  part("session", (Date.parse(context.as_of) - start) / (end - start));
  part("bought", context.volume ? context.buy_volume / context.volume : 0.5);
  part("covered", context.coverage.ratio ?? 0);
  const [low, high] = [context.delta_min, context.delta_max];
  part("delta", high > low ? (context.cumulative_delta - low) / (high - low) : 0.5);
}

export function paintSessions(sessions, asOf, url) {
  const body = document.querySelector("#sessions tbody");
  const fresh = sessions.map((item) => {
    const row = document.createElement("tr");
    const state = asOf >= item.end ? "over" : asOf >= item.start ? "open" : "to come";
    const link = document.createElement("a");
    Object.assign(link, { href: url(item.name), textContent: item.title });
    link.dataset.scope = item.name;
    for (const part of [link, span(item.start, item.end), state]) {
      row.insertCell().append(part);
    }
    row.dataset.state = state;
    return row;
  });
  body?.replaceChildren(...fresh);
}

export function addEvent(event, proof) {
  const list = document.querySelector("#events");
  if (!list) return;
  list.querySelector(".none")?.remove();
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = clock(event.ts);
  item.dataset.kind = event.kind;
  item.append(time, ` ${eventText(event, proof)}`);
  list.prepend(item);
  while (list.children.length > EVENTS) list.lastElementChild.remove();
}

export function paintConnections(connections) {
  const body = document.querySelector("#connections tbody");
  const fresh = connections.map((item) => {
    const row = document.createElement("tr");
    const age = item.last_message_age_ms;
    const texts = [
      connectionText(item), item.state,
      age === null ? "–" : `${(age / 1000).toFixed(1)} s`,
      String(item.reconnects), String(item.gaps),
    ];
    for (const text of texts) row.insertCell().textContent = text;
    row.dataset.state = item.state;
    return row;
  });
  body?.replaceChildren(...fresh);
}
