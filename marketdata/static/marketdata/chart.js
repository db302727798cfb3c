// Candles with levels, profile, delta per candle and cumulative delta, on lightweight-charts.

import { covered, number, places, signed } from "./figures.js";
import { Bands, Profile } from "./overlays.js";

const STYLE = getComputedStyle(document.documentElement);
const colour = (name) => STYLE.getPropertyValue(`--${name}`).trim();
const FONT = STYLE.getPropertyValue("--font").trim();
const AXIS = 84;
const SOLID = 0;
const DOTTED = 1;
const DASHED = 2;
const LINES = {
  POC: { color: colour("poc"), lineStyle: SOLID, lineWidth: 1 },
  VAH: { color: colour("area"), lineStyle: DASHED, lineWidth: 1 },
  VAL: { color: colour("area"), lineStyle: DASHED, lineWidth: 1 },
  PDH: { color: colour("muted"), lineStyle: DOTTED, lineWidth: 1 },
  PDL: { color: colour("muted"), lineStyle: DOTTED, lineWidth: 1 },
  PDC: { color: colour("muted"), lineStyle: DOTTED, lineWidth: 1 },
};
const seconds = (iso) => Date.parse(iso) / 1000;
const utc = (time) => `${new Date(time * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;

export class Chart {
  constructor(library, element, { tick, lot, legend, basis }) {
    this.decimals = places(tick);
    this.lots = places(lot);
    this.legend = legend;
    this.unknown = basis === "ticks" ? ": ticks have no size and no side" : "";
    this.rows = new Map();
    this.anchored = 0;
    this.lines = {};
    this.element = element;
    this.chart = library.createChart(element, options(element));
    this.series(library, tick);
    this.overlays();
    this.chart.subscribeCrosshairMove(({ time }) => this.say(time));
  }

  series(library, tick) {
    const price = {
      type: "custom", minMove: tick, formatter: (value) => number(value, this.decimals),
    };
    const quiet = { priceLineVisible: false, lastValueVisible: false };
    const volume = { type: "custom", minMove: 1e-8, formatter: (v) => signed(v, short(v)) };
    this.vwap = this.chart.addSeries(library.LineSeries, {
      ...quiet, lastValueVisible: true, title: "VWAP", color: colour("accent"), lineWidth: 2,
      priceFormat: price, crosshairMarkerVisible: false,
      // A far VWAP must not flatten the candles; the ladder says how far it is.
      autoscaleInfoProvider: () => null,
    });
    this.candles = this.chart.addSeries(library.CandlestickSeries, {
      // The library's own label would have the hollow candles' colour, which is none.
      ...quiet, priceFormat: price,
      upColor: colour("bg"), borderUpColor: colour("buy"), wickUpColor: colour("buy"),
      downColor: colour("sell"), borderDownColor: colour("sell"), wickDownColor: colour("sell"),
    });
    this.delta = this.chart.addSeries(
      library.HistogramSeries, { ...quiet, priceFormat: volume, base: 0 }, 1,
    );
    this.cvd = this.chart.addSeries(library.BaselineSeries, {
      ...quiet, lastValueVisible: true, priceFormat: volume, lineWidth: 2,
      baseValue: { type: "price", price: 0 },
      topLineColor: colour("buy"), topFillColor1: colour("buy-fill"), topFillColor2: "transparent",
      bottomLineColor: colour("sell"), bottomFillColor1: "transparent",
      bottomFillColor2: colour("sell-fill"), crosshairMarkerVisible: false,
    }, 2);
    const panes = this.chart.panes();
    [0.68, 0.15, 0.17].forEach((part, at) => panes[at].setStretchFactor(part));
    for (const series of [this.delta, this.cvd]) {
      series.priceScale().applyOptions({ scaleMargins: { top: 0.24, bottom: 0.12 } });
    }
    this.titles = ["", "Δ per candle", "cumulative Δ"].map((text, at) => at === 0
      ? null
      : library.createTextWatermark(panes[at], watermark(`${text}${this.unknown}`)));
  }

  overlays() {
    this.bands = new Bands({
      session: colour("session"), hole: colour("warn"), label: colour("muted"),
      font: `11px ${FONT}`,
    });
    this.profile = new Profile({
      buy: colour("buy"), sell: colour("sell"), tick: colour("area"), poc: colour("poc"),
    });
    this.candles.attachPrimitive(this.bands);
    this.candles.attachPrimitive(this.profile);
  }

  // History, oldest first.
  load(candles, length) {
    this.rows = new Map(candles.map((candle) => [seconds(candle.time), candle]));
    const rows = [...this.rows];
    this.candles.setData(rows.map(([time, row]) => ({ time, ...ohlc(row) })));
    this.delta.setData(rows.map(([time, row]) => bar(time, row)));
    this.last = rows.length ? rows.at(-1)[0] : 0;
    this.bands.set({
      length, first: rows[0]?.[0], last: this.last,
      holes: rows.filter(([, row]) => row.coverage !== null && row.coverage < 1).map(([t]) => t),
    });
    this.space(rows.length);
    this.markLast();
    if (this.context) this.anchor(Infinity);
    this.say();
  }

  // A few candles are spread, many keep their width.
  space(count) {
    const { barSpacing, rightOffsetPixels } = options(this.element).timeScale;
    const room = this.element.clientWidth - rightOffsetPixels - AXIS;
    const spread = Math.min(2.5 * barSpacing, room / (count + 2));
    this.chart.timeScale().applyOptions({ barSpacing: Math.max(barSpacing, spread) });
  }

  // What is pushed from now on may be of another timeframe: history comes first.
  await() {
    this.rows = new Map();
  }

  // A pushed context with its newest two candles.
  update(context) {
    const moved = context.start !== this.context?.start || context.scope !== this.context?.scope;
    this.context = context;
    if (this.rows.size) {
      for (const candle of context.candles ?? []) this.put(candle);
      this.bands.last = this.last;
      this.markLast();
      this.anchor(moved ? Infinity : 2);
    }
    this.levels(context.levels);
    this.profile.set(context);
    if (!this.pointed) this.say();
  }

  put(candle) {
    const time = seconds(candle.time);
    const known = this.rows.get(time);
    if (known === undefined && time < this.last) return;
    if (known && known.trades === candle.trades) return;
    const row = { ...candle, coverage: known?.coverage ?? null };
    this.rows.set(time, row);
    this.candles.update({ time, ...ohlc(row) }, time < this.last);
    this.delta.update(bar(time, row), time < this.last);
    this.last = Math.max(this.last, time);
  }

  // VWAP and cumulative delta by candle, counted back from the scope's totals, newest `count`.
  anchor(count) {
    const points = walk(this.rows, this.context, count);
    const last = this.anchored;
    this.anchored = points.at(-1)?.time ?? last;
    if (count === Infinity) {
      this.vwap.setData(points.map(({ time, vwap }) => ({ time, value: vwap })));
      this.cvd.setData(points.map(({ time, cvd }) => ({ time, value: cvd })));
      return;
    }
    for (const { time, vwap, cvd } of points) {
      this.vwap.update({ time, value: vwap }, time < last);
      this.cvd.update({ time, value: cvd }, time < last);
    }
  }

  levels(levels) {
    for (const [name, style] of Object.entries(LINES)) {
      this.line(name, levels[name], { ...style, title: name });
    }
  }

  markLast() {
    const row = this.rows.get(this.last);
    if (!row) return;
    const color = colour(row.close < row.open ? "sell" : "buy");
    this.line("LAST", row.close, { color, lineStyle: DOTTED, lineWidth: 1, title: "" });
  }

  line(name, price, style) {
    const known = this.lines[name];
    if (price === null) {
      if (known) this.candles.removePriceLine(known);
      delete this.lines[name];
    } else if (!known) {
      this.lines[name] = this.candles.createPriceLine({ ...style, price });
    } else if (known.options().price !== price || known.options().color !== style.color) {
      known.applyOptions({ ...style, price });
    }
  }

  shade(windows) {
    this.bands.set({
      windows: windows.map(({ start, end, title }) => (
        { start: seconds(start), end: seconds(end), title })),
    });
  }

  // The legend: the candle under the cross, else the newest.
  say(time) {
    this.pointed = time !== undefined;
    const at = time ?? this.last;
    const row = this.rows.get(at);
    if (!row) return;
    const price = (name) => number(row[name], this.decimals);
    const held = row.coverage === null ? "" : `held ${covered(row.coverage)}`;
    this.legend.textContent = [
      utc(at), `O ${price("open")}`, `H ${price("high")}`, `L ${price("low")}`,
      `C ${price("close")}`, ...sizes(row), held,
    ].join("  ");
  }

  reset() {
    this.chart.timeScale().resetTimeScale();
    this.chart.panes().forEach((pane) => pane.priceScale("right").setAutoScale(true));
  }
}

const ohlc = ({ open, high, low, close }) => ({ open, high, low, close });
// Of ticks without side there is no delta.
const bar = (time, { delta }) => (delta === null
  ? { time }
  : { time, value: delta, color: colour(delta < 0 ? "sell" : "buy") });

function sizes({ volume, delta, trades }) {
  if (volume === null) return [`${number(trades, 0)} ticks, no size`];
  return [`V ${number(volume, short(volume))}`, `Δ ${signed(delta, short(delta))}`];
}

// Fewer decimals for larger volumes, so that axes stay narrow.
function short(volume) {
  const size = Math.abs(volume);
  if (size >= 1000) return 0;
  return size >= 10 ? 1 : 3;
}

export function walk(rows, { start, end, levels, volume, cumulative_delta: total }, count) {
  const from = seconds(start);
  const until = seconds(end);
  const points = [];
  let cvd = total;
  let lots = volume;
  let notional = (levels.VWAP ?? 0) * volume;
  for (const time of [...rows.keys()].reverse()) {
    if (time >= until) continue;
    if (time < from || points.length >= count || !(lots > volume * 1e-12)) break;
    const row = rows.get(time);
    points.push({ time, cvd, vwap: notional / lots });
    cvd -= row.delta;
    lots -= row.volume;
    notional -= row.vwap * row.volume;
  }
  return points.reverse();
}

function watermark(text) {
  return {
    horzAlign: "left", vertAlign: "top",
    lines: [{ text: ` ${text}`, color: colour("muted"), fontSize: 11, fontFamily: FONT }],
  };
}

function options(element) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const wide = element.clientWidth;
  return {
    autoSize: true,
    layout: {
      background: { type: "solid", color: colour("bg") }, textColor: colour("muted"),
      fontFamily: FONT, fontSize: 11, attributionLogo: true,
      panes: { separatorColor: colour("line"), separatorHoverColor: colour("hover") },
    },
    grid: { vertLines: { visible: false }, horzLines: { color: colour("grid") } },
    crosshair: {
      mode: 0,
      vertLine: { color: colour("faint"), labelBackgroundColor: colour("raised") },
      horzLine: { color: colour("faint"), labelBackgroundColor: colour("raised") },
    },
    localization: { timeFormatter: utc },
    rightPriceScale: { borderColor: colour("line"), minimumWidth: wide < 600 ? 64 : AXIS },
    timeScale: {
      borderColor: colour("line"), timeVisible: true, secondsVisible: false,
      barSpacing: wide < 600 ? 5 : 7,
      rightOffsetPixels: Math.round(Math.min(190, (wide - AXIS) * 0.16)) + 16,
    },
    // A finger that moves up or down scrolls the page, not the prices.
    handleScroll: { vertTouchDrag: false },
    kineticScroll: { touch: !still, mouse: false },
  };
}
