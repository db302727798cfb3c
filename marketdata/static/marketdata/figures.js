// A context as the texts of the page. `views/figures.py` says the same on the server; a test
// compares the two.

const ARROWS = { up: "▲", down: "▼", flat: "■" };
const UNKNOWN = "–";
const MINUS = "\u2212";
// The order breaks ties of the ladder.
const LEVELS = [
  "HIGH", "PDH", "VWAP+3", "VWAP+2", "VWAP+1", "VAH", "LAST", "VWAP", "POC", "VAL",
  "VWAP-1", "VWAP-2", "VWAP-3", "OPEN", "PDC", "PDL", "LOW",
];
const BANDS = [3, 2, 1, -1, -2, -3];
const PRECISION = {
  exact: "● exact", backfilling: "◐ backfilling", degraded: "▲ degraded",
};
const PROOFS = {
  id_exact: "by id: the venue numbers its trades without gaps",
  overlap: "by overlap: fetched pages share trades",
  cadence: "by cadence only",
  none: "none",
};
// Whose trades are numbered one by one; of others a jump in numbers, which are ours, counts nothing.
const COUNTED = "id_exact";
const NO_SIZE = "no size";
// What happened to some trades, by the kind of event.
const OF_TRADES = {
  gap: "missing",
  gap_closed: "refilled",
  hole_exchange_side: "the venue does not have",
  hole_permanent: "given up",
};
const MOST_RANGES = 6;
const MOST_SYMBOLS = 3;

export function places(step) {
  for (let n = 0; n < 12; n += 1) {
    const scaled = step * 10 ** n;
    const whole = Math.round(scaled);
    if (whole >= 1 && Math.abs(scaled - whole) < 1e-6 * scaled) return n;
  }
  return 12;
}

export function number(value, decimals) {
  if (value === null) return UNKNOWN;
  const [whole, rest] = Math.abs(value).toFixed(decimals).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const text = rest === undefined ? grouped : `${grouped}.${rest}`;
  return value < 0 ? MINUS + text : text;
}

const counted = (count, noun) => `${number(count, 0)} ${noun}${count === 1 ? "" : "s"}`;

export function signed(value, decimals) {
  const text = number(value, decimals);
  if (value === null || !/[1-9]/.test(text)) return text.replace(MINUS, "");
  return value < 0 ? text : `+${text}`;
}

function side(value) {
  if (!value) return "flat";
  return value > 0 ? "up" : "down";
}

function share(part, whole) {
  return whole && part !== null ? (100 * part) / whole : null;
}

// Rounded down: only a whole scope reads 100 %.
export function covered(ratio) {
  if (ratio === null) return UNKNOWN;
  return `${(Math.floor(ratio * 1e6 + 1e-9) / 1e4).toFixed(4)} %`;
}

export const clock = (iso) => iso.slice(11, 19);

export function span(start, end) {
  const until = end.slice(11, 16);
  return `${start.slice(11, 16)}–${until === "00:00" ? "24:00" : until} UTC`;
}

function prices(levels, last) {
  const { VWAP: vwap, VWAP_SD: sd } = levels;
  const found = { ...levels, LAST: last };
  for (const k of BANDS) {
    const name = `VWAP${k > 0 ? "+" : ""}${k}`;
    found[name] = vwap === null || sd === null ? null : vwap + k * sd;
  }
  return found;
}

// The market's newest price: a scope that is over keeps its own.
export const lastPrice = ({ candles, levels }) => candles?.at(-1)?.close ?? levels.LAST;

// Levels by price, highest first, the unknown ones last.
export function ladder(context, last) {
  const known = prices(context.levels, last);
  const decimals = places(context.definition.tick_size);
  const rows = LEVELS.map((name, at) => ({ name, at, value: known[name] }));
  rows.sort((a, b) => {
    if ((a.value === null) !== (b.value === null)) return a.value === null ? 1 : -1;
    return (b.value ?? 0) - (a.value ?? 0) || a.at - b.at;
  });
  const found = rows.map(({ name, value }) => level(name, value, last, decimals));
  return context.estimated.length ? found.map(told) : found;
}

// Of ticks without size some levels cannot be known.
function told(row) {
  if (!row.name.startsWith("VWAP")) return row;
  return { ...row, distance: { text: NO_SIZE, side: "flat" }, share: "" };
}

function level(name, value, last, decimals) {
  const price = number(value, decimals);
  if (name === "LAST") return { name, price, distance: { text: "", side: "" }, share: "" };
  const distance = value === null || last === null ? null : last - value;
  const ratio = share(distance, value);
  return {
    name,
    price,
    distance: { text: signed(distance, decimals), side: side(distance) },
    share: ratio === null ? UNKNOWN : `${signed(ratio, 2)} %`,
  };
}

const figure = (text, way = "") => ({ text, side: way });

// Where trades are missing before the first one held, nobody knows with what the day opened.
export const openOf = ({ coverage, levels }) => (coverage.has_first ? levels.OPEN : null);

export function figures(context, dayOpen, last) {
  return {
    ...priceFigures(context, dayOpen, last),
    ...sessionFigures(context),
    ...flowFigures(context),
    ...coverageFigures(context.coverage),
    precision: figure(PRECISION[context.precision], context.precision),
  };
}

function priceFigures(context, dayOpen, last) {
  const decimals = places(context.definition.tick_size);
  const change = last === null || dayOpen === null ? null : last - dayOpen;
  const ratio = share(change, dayOpen);
  const way = side(change);
  const text = ratio === null
    ? UNKNOWN
    : `${signed(change, decimals)} (${signed(ratio, 2)} %)`;
  return {
    price: figure(number(last, decimals), way),
    change: figure(`${ARROWS[way]} ${text}`, way),
    day_open: figure(number(dayOpen, decimals)),
    as_of_date: figure(context.as_of.slice(0, 10)),
    as_of: figure(clock(context.as_of)),
  };
}

function sessionFigures(context) {
  const { session } = context;
  const cut = session.message.indexOf(", ");
  const name = cut < 0 ? session.message : session.message.slice(0, cut);
  return {
    session: figure(name, session.active ? "on" : "off"),
    session_note: figure(cut < 0 ? "" : session.message.slice(cut + 2)),
    session_window: figure(span(session.start, session.end)),
    scope_window: figure(`${context.start.slice(0, 10)} ${span(context.start, context.end)}`),
  };
}

function flowFigures(context) {
  const lots = places(context.definition.lot_size);
  const bought = share(context.buy_volume, context.volume);
  const sold = share(context.sell_volume, context.volume);
  const delta = (value) => figure(signed(value, lots), side(value));
  return {
    volume: figure(number(context.volume, lots)),
    bought: figure(number(context.buy_volume, lots)),
    sold: figure(number(context.sell_volume, lots)),
    bought_share: figure(bought === null ? UNKNOWN : `${bought.toFixed(1)} %`),
    sold_share: figure(sold === null ? UNKNOWN : `${sold.toFixed(1)} %`),
    trades: figure(number(context.trades, 0)),
    ...sizeFigures(context),
    delta: delta(context.cumulative_delta),
    delta_min: delta(context.delta_min),
    delta_max: delta(context.delta_max),
  };
}

// What volume and delta are of, or why there are none.
function sizeFigures({ estimated, ticks }) {
  if (!estimated.length) {
    return { trades_of: figure("trades"), delta_of: figure("buying less selling volume") };
  }
  const up = signed(ticks.delta, 0);
  return {
    trades_of: figure(`ticks, ${NO_SIZE}`),
    delta_of: figure(`${NO_SIZE}, no side; ticks up less down ${up}, estimated`),
  };
}

function coverageFigures(coverage) {
  const { missing, expected } = coverage;
  const whole = missing === 0 ? "whole" : "hole";
  const known = missing !== null;
  const sources = Object.entries(coverage.sources)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name} ${number(count, 0)}`)
    .join(" · ");
  return {
    coverage: figure(known ? covered(coverage.ratio) : "unknown", whole),
    held: figure(number(coverage.held, 0)),
    expected: figure(expected === null ? "an unknown number" : number(expected, 0)),
    missing: figure(known ? size(missing) : holesText(coverage), whole),
    holes: figure(lack(coverage)),
    proof: figure(PROOFS[coverage.proof] ?? coverage.proof),
    sources: figure(sources || UNKNOWN),
  };
}

// Ids where the venue numbers its trades, else how many holes, and what its feed left out.
function lack(coverage) {
  const { proof, ranges, holes: count, left_out: leftOut } = coverage;
  if (proof === COUNTED) return holes(ranges);
  return [
    ...(count ? [holesText(coverage)] : []),
    ...(leftOut ? [`${number(leftOut, 0)} left out by the feed`] : []),
  ].join(" · ");
}

const holesText = ({ holes: count, missing }) => `${counted(count, "hole")}, ${size(missing)}`;

const size = (missing) => (missing === null ? "size unknown" : `${number(missing, 0)} missing`);

function holes(ranges) {
  const newest = [...ranges].reverse()
    .map(([first, last]) => `${first}–${last} (${number(last - first + 1, 0)})`);
  const more = newest.length - MOST_RANGES;
  return [...newest.slice(0, MOST_RANGES), ...(more > 0 ? [`and ${more} more`] : [])].join(" · ");
}

export function connectionText({ source, channel, symbol }) {
  const symbols = symbol.split(",");
  const more = symbols.length - MOST_SYMBOLS;
  const named = symbols.slice(0, MOST_SYMBOLS).join(", ");
  return `${source} ${channel} ${named}${more > 0 ? ` and ${more} more` : ""}`;
}

export function backfillText({ backfill_status: status, backfill_progress: progress }) {
  if (status !== "running") return "idle";
  const { current, total, percentage, estimated_seconds_remaining: left } = progress;
  const text = `${number(current, 0)} of ${number(total, 0)} trades, ${percentage.toFixed(1)} %`;
  return left === null ? text : `${text}, ${number(Math.ceil(left), 0)} s left`;
}

export function eventText({ kind, detail }, proof = COUNTED) {
  const trades = OF_TRADES[kind];
  if (kind === "hole_exchange_side" && proof !== COUNTED) {
    return "nothing is missing: the venue has no trade there";
  }
  if (trades && proof !== COUNTED) return `an unknown number of trades ${trades}`;
  if (trades) {
    const count = counted(detail.last_id - detail.first_id + 1, "trade");
    return `${count} ${trades}, ids ${detail.first_id}–${detail.last_id}`;
  }
  switch (kind) {
    case "session_change": return `session ${detail.from} → ${detail.to}`;
    case "day_roll": return "a new UTC day begins";
    case "restated": return restatedText(detail);
    case "left_out": return `${counted(detail.trades, "trade")} left out by the feed`;
    case "grid_refined": return `finer grid: tick ${detail.tick}, lot ${detail.lot}`;
    default: return kind.replaceAll("_", " ");
  }
}

/** What a number was restated to, and why. */
function restatedText(detail) {
  const at = new Date(detail.start_us / 1000).toISOString().slice(11, 16);
  const what = { candle: `candle ${detail.name} ${at}`, day: "UTC day" };
  const name = what[detail.what] ?? `session ${detail.name}`;
  const [old, fresh] = [detail.old, detail.new].map(({ trades }) => number(trades, 0));
  return `${name} restated (${detail.cause}): ${old} → ${fresh} trades`;
}
