// The page of backfills: looks every second, writes what changed, asks for jobs.
// `views/backfill.py` says the same before any script runs; a test compares the two.

import { number } from "./figures.js";

const LOOK_MS = 1000;
const DAY_MS = 86_400_000;
const UNKNOWN = "–";
const STATES = {
  queued: "◌ waiting",
  running: "▶ running",
  completed: "✓ completed",
  failed: "✕ failed",
  stopped: "■ stopped",
  cancelled: "⊘ cancelled",
};
const CANCELLING = "◌ being cancelled";
const ENDED = { completed: "It completed.", failed: "It failed." };
const LABELS = [
  "Job", "State", "Instrument", "Range", "Via", "Held", "Missing", "Tries", "Since", "Error",
];

const main = document.querySelector("#backfill");
const mayAct = main.dataset.staff === "yes" && main.dataset.service === "yes";
const form = document.querySelector("#ask");
const said = document.querySelector("#said");
const contact = document.querySelector("#contact");
const body = document.querySelector("#jobs tbody");
const rows = new Map();

// ---- texts

const isOpen = ({ status }) => status === "queued" || status === "running";
const isCounted = ({ expected, status }) => expected > 0 || status === "completed";
const isWhole = ({ missing, status }) => status === "completed" && !missing;
const moment = (iso) => `${iso.slice(0, 10)} ${iso.slice(11, 16)}`;
const isMidnight = (iso) => iso.slice(11) === "00:00:00.000Z";
const dayBefore = (iso) => new Date(Date.parse(iso) - DAY_MS).toISOString().slice(0, 10);

function span(start, end) {
  const [first, last] = [start.slice(0, 10), end.slice(0, 10)];
  if (isMidnight(start) && isMidnight(end)) {
    return first === dayBefore(end) ? first : `${first} – ${dayBefore(end)}`;
  }
  if (isMidnight(start) && first === last) return `${first} until ${end.slice(11, 16)}`;
  return `${moment(start)} – ${moment(end)}`;
}

function duration(seconds) {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function nowTexts({ progress, job, running, jobs }) {
  const { estimated_seconds_remaining: left, limit_headroom: free } = progress;
  return {
    title: running ? `Job ${job} runs` : "No backfill runs",
    percentage: `${progress.percentage.toFixed(1)} %`,
    left_text: left === null ? "" : `${duration(left)} left`,
    trades: `${number(progress.current, 0)} of ${number(progress.total, 0)}`,
    pace: `${number(progress.trades_per_second, 0)} trades/s`,
    parts: `${number(progress.chunks_done, 0)} of ${number(progress.chunks, 0)}`,
    limit: free === null ? UNKNOWN : `${(100 * free).toFixed(0)} % free`,
    note: progress.note || UNKNOWN,
    idle: idleText(jobs),
  };
}

function idleText(jobs) {
  const elsewhere = jobs.find(({ status }) => status === "running");
  if (elsewhere) {
    return `Job ${elsewhere.id} was begun by another process, which alone knows how far it is.`;
  }
  const over = jobs.find(({ status }) => status in ENDED);
  if (!over) return "No job has ended yet.";
  return `The newest job that is over is job ${over.id}. ${ENDED[over.status]}`;
}

// ---- onto the page

function write(cell, text) {
  if (cell && cell.textContent !== text) cell.textContent = text;
}

function element(tag, text, more = {}) {
  return Object.assign(document.createElement(tag), { textContent: text, ...more });
}

function button(act, word, id) {
  const made = element("button", word, { type: "button", className: "scripted" });
  made.dataset.act = act;
  made.setAttribute("aria-label", `${word} job ${id}`);
  return made;
}

function rowOf(job) {
  const row = document.createElement("tr");
  Object.assign(row.dataset, { job: job.id, status: job.status });
  const parts = [
    [element("a", job.id, { href: `?job=${job.id}#detail` })],
    [job.cancelling ? CANCELLING : STATES[job.status] ?? job.status],
    [element("bdi", job.symbol), " ", element("small", job.source)],
    [span(job.start, job.end)],
    [job.via],
    [job.expected ? `${number(job.trades, 0)} of ${number(job.expected, 0)}` : UNKNOWN],
    [isCounted(job) ? number(job.missing, 0) : UNKNOWN],
    [String(job.attempts)],
    [moment(job.finished_at ?? job.started_at ?? job.created_at)],
    [job.error],
  ];
  for (const [at, part] of parts.entries()) {
    const cell = row.insertCell();
    cell.dataset.label = LABELS[at];
    cell.append(...part);
  }
  if (job.missing > 0) row.cells[6].dataset.side = "hole";
  const actions = row.insertCell();
  if (mayAct && isOpen(job) && !job.cancelling) actions.append(button("cancel", "Cancel", job.id));
  if (mayAct && !isOpen(job) && !isWhole(job)) actions.append(button("retry", "Retry", job.id));
  return row;
}

function paintJobs(jobs) {
  const fresh = jobs.map((job) => {
    const key = JSON.stringify(job);
    const known = rows.get(job.id);
    return [job.id, known?.key === key ? known : { key, row: rowOf(job) }];
  });
  const isSame = fresh.length === rows.size && fresh.every(([id, made]) => rows.get(id) === made);
  if (isSame) return;
  const held = document.activeElement?.dataset.act
    ? document.activeElement.closest("tr").dataset.job : null;
  rows.clear();
  for (const [id, made] of fresh) rows.set(id, made);
  body.replaceChildren(...fresh.map(([, { row }]) => row));
  if (held) rows.get(Number(held))?.row.querySelector("button")?.focus();
}

function paint(answer) {
  for (const [name, text] of Object.entries(nowTexts(answer))) {
    write(document.querySelector(`[data-n="${name}"]`), text);
  }
  document.querySelector("#running").hidden = !answer.running;
  document.querySelector("#idle").hidden = answer.running;
  document.querySelector("#running progress").value = answer.progress.percentage;
  if (answer.jobs.length) paintJobs(answer.jobs);
}

// ---- looking

let timer = 0;
let lookedAt = "";

async function look() {
  clearTimeout(timer);
  try {
    const answer = await fetch("/api/backfill/status", { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    paint(await answer.json());
    lookedAt = new Date().toISOString().slice(11, 19);
    contact.dataset.side = "";
    write(contact, "● live");
  } catch {
    contact.dataset.side = "degraded";
    write(contact, lookedAt ? `▲ no answer since ${lookedAt} UTC` : "▲ no answer");
  }
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(look, LOOK_MS);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) look();
});

// ---- asking

async function post(path, content = {}) {
  const answer = await fetch(`/api/backfill/jobs${path}`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "X-CSRFToken": form.elements.csrfmiddlewaretoken.value,
    },
    body: JSON.stringify(content),
  });
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  const detail = typeof told.detail === "string" ? told.detail : `status ${answer.status}`;
  throw new Error(answer.status === 401 ? "you are logged out: log in again" : detail);
}

async function act(asked, words) {
  try {
    const told = await asked;
    said.dataset.side = "";
    write(said, words(told));
  } catch (error) {
    said.dataset.side = "degraded";
    write(said, `▲ Refused: ${error.message}`);
  }
  await look();
}

function wanted({ what, symbol, source, via, date, start, end }) {
  const common = { symbol: symbol.value.trim(), source: source.value, via: via.value };
  if (what.value === "today") return { ...common, today: true };
  if (what.value === "date") return { ...common, date: date.value };
  const after = new Date(Date.parse(end.value) + DAY_MS).toISOString().slice(0, 10);
  return { ...common, start: start.value, end: after };
}

function choose() {
  for (const label of form.querySelectorAll("[data-for]")) {
    label.hidden = label.dataset.for !== form.elements.what.value;
    label.querySelector("input").disabled = label.hidden;
  }
}

if (form) {
  form.elements.what.addEventListener("change", choose);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(post("", wanted(form.elements)), ({ id }) => `✓ Job ${id} is queued.`);
  });
  body.addEventListener("click", ({ target }) => {
    const pressed = target.closest("[data-act]");
    if (!pressed) return;
    pressed.disabled = true;
    const { job } = pressed.closest("tr").dataset;
    const isRetry = pressed.dataset.act === "retry";
    act(post(`/${job}/${pressed.dataset.act}`), ({ queued, cancelling }) => {
      if (isRetry) return queued ? `✓ Job ${job} is queued again.` : `Job ${job} is not over.`;
      return cancelling ? `✓ Job ${job} ends.` : `Job ${job} is over already.`;
    });
  });
  choose();
}
look();
