// What is drawn behind the candles: volume profile at the right edge, sessions, holes.

const PROFILE_SHARE = 0.16;
const PROFILE_MOST = 190;
// A session that ends left of this is not named.
const LABEL_LEAST = 120;

// A primitive of the chart library that draws with one function, below the series.
class Overlay {
  constructor(draw) {
    const renderer = {
      draw: () => {},
      drawBackground: (target) => target.useMediaCoordinateSpace(
        ({ context, mediaSize }) => draw(context, mediaSize, this),
      ),
    };
    this.views = [{ zOrder: () => "bottom", renderer: () => renderer }];
  }

  attached({ chart, series, requestUpdate }) {
    Object.assign(this, { chart, series, requestUpdate });
  }

  paneViews() {
    return this.views;
  }
}

export class Profile extends Overlay {
  constructor(colours) {
    super((context, size) => this.paint(context, size));
    this.colours = colours;
    this.rows = [];
  }

  set({ volume_profile: rows, definition, levels }) {
    Object.assign(this, { rows, height: definition.profile_tick_size, levels });
    this.most = Math.max(0, ...rows.map((row) => row.volume));
    this.requestUpdate?.();
  }

  paint(context, { width }) {
    if (!this.most) return;
    const wide = Math.min(PROFILE_MOST, width * PROFILE_SHARE) / this.most;
    for (const row of this.rows) {
      const top = this.series.priceToCoordinate(row.price + this.height);
      const bottom = this.series.priceToCoordinate(row.price);
      if (top === null || bottom === null) continue;
      this.row(context, width, row, wide, top, Math.max(1, bottom - top - 0.5));
    }
  }

  row(context, right, row, wide, top, height) {
    const { VAL, VAH, POC } = this.levels;
    const inside = row.price + this.height > VAL && row.price < VAH;
    // Ticks without side have one colour.
    if (row.buy_vol === null) row = { ...row, buy_vol: 0, sell_vol: row.volume, one: true };
    const sold = row.sell_vol * wide;
    const bought = row.buy_vol * wide;
    context.globalAlpha = inside ? 0.55 : 0.22;
    context.fillStyle = row.one ? this.colours.tick : this.colours.sell;
    context.fillRect(right - sold, top, sold, height);
    context.fillStyle = this.colours.buy;
    context.fillRect(right - sold - bought, top, bought, height);
    context.globalAlpha = 1;
    if (row.price <= POC && POC < row.price + this.height) {
      context.fillStyle = this.colours.poc;
      context.fillRect(right - sold - bought - 6, top, 4, Math.max(2, height));
    }
  }
}

export class Bands extends Overlay {
  // Windows of time as faint columns, and incomplete candles as hatched ones.
  constructor(colours) {
    super((context, size) => this.paint(context, size));
    this.colours = colours;
    this.windows = [];
    this.holes = [];
    this.length = 60;
  }

  set(fields) {
    Object.assign(this, fields);
    this.requestUpdate?.();
  }

  x(time) {
    const scale = this.chart.timeScale();
    const index = scale.timeToIndex(time, true);
    return index === null ? null : scale.logicalToCoordinate(index);
  }

  paint(context, { height }) {
    const half = this.chart.timeScale().options().barSpacing / 2;
    for (const { start, end, title } of this.windows) {
      const left = this.x(start);
      const right = this.x(end - this.length);
      if (left === null || right === null || !this.covers(start, end)) continue;
      context.fillStyle = this.colours.session;
      context.fillRect(left - half, 0, right - left + 2 * half, height);
      if (right + half < LABEL_LEAST) continue;
      context.fillStyle = this.colours.label;
      context.font = this.colours.font;
      context.fillText(title, Math.max(0, left - half) + 6, height - 8);
    }
    for (const time of this.holes) this.hatch(context, this.x(time), half, height);
  }

  // Whether any candle lies in the window: the scale answers with the nearest one otherwise.
  covers(start, end) {
    return this.first !== undefined && this.first < end && this.last >= start;
  }

  hatch(context, x, half, height) {
    if (x === null) return;
    const wide = Math.max(3, 2 * half);
    context.save();
    context.beginPath();
    context.rect(x - wide / 2, 0, wide, height);
    context.clip();
    context.strokeStyle = this.colours.hole;
    context.lineWidth = 1;
    context.beginPath();
    for (let y = -wide; y < height; y += 7) {
      context.moveTo(x - wide / 2, y + wide);
      context.lineTo(x + wide / 2, y);
    }
    context.stroke();
    context.restore();
  }
}
