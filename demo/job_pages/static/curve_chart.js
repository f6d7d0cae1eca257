// How a chart of curves is drawn, on the page and as a PNG file. `view`, `runs`, `page` and `linesOf` are of curves.js.
'use strict';

const DASHES = [[], [8, 4], [2, 3], [9, 3, 2, 3]]; // as in curves.css

// Scales -------------------------------------------------------------------------------------------------------------

// Values of all lines among the steps, and the first beyond on either side, so that lines reach the edge.
function valueRange(lines, [from, to]) {
  let low = Infinity, high = -Infinity, leftOut = false;
  const take = value => {
    if (view.log && value <= 0) {
      leftOut = true;
      return;
    }
    low = Math.min(low, value);
    high = Math.max(high, value);
  };
  for (const { x, y, raw } of lines) {
    for (const part of raw ? [raw, { x, y }] : [{ x, y }]) {
      part.x.forEach((step, index) => { if (step >= from && step <= to) take(part.y[index]); });
    }
  }
  if (low > high) return { low: view.log ? 1 : 0, high: view.log ? 10 : 1, leftOut };
  if (high - low < 1e-6 * Math.abs(high)) high = low; // a mean of equal values differs in its last digits
  if (view.log) {
    const room = low === high ? 2 : Math.pow(high / low, 0.04);
    return { low: low / room, high: high * room, leftOut };
  }
  const room = low === high ? Math.abs(low) / 10 || 1 : 0.05 * (high - low);
  return { low: low - room, high: high + room, leftOut };
}

function niceTicks(low, high, most) {
  const rough = (high - low) / most, unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find(factor => factor * unit >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step); tick * step <= high; tick += 1) found.push(Number((tick * step).toPrecision(12)));
  return found;
}

// At least three steps, however narrow the chart, where there are as many.
function stepTicks(low, high, width) {
  const integers = most => niceTicks(low, high, most).filter(tick => high - low <= 4 || Number.isInteger(tick));
  for (let most = Math.max(2, Math.floor(width / 90)); most < 8; most += 1) {
    const found = integers(most);
    if (found.length >= 3) return found;
  }
  return integers(Math.max(8, Math.floor(width / 90)));
}

function logTicks(low, high, most) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const factor of high / low > 300 ? [1] : [1, 2, 5]) {
      const tick = Number((factor * 10 ** power).toPrecision(3));
      if (tick >= low && tick <= high) found.push(tick);
    }
  }
  if (found.length < 2) return niceTicks(low, high, most);
  return found.filter((_, index) => index % Math.ceil(found.length / most) === 0);
}

function shortNumber(value, digits = 4) {
  const size = Math.abs(value);
  if (size && (size < 1e-3 || size >= 1e7)) return value.toExponential(digits - 2).replace(/\.?0+e/, 'e').replace('e+', 'e');
  return Number(value.toPrecision(digits)).toLocaleString('en-US', { maximumFractionDigits: digits + 2 });
}

// With as many digits as it takes that no two are equal.
function tickTexts(ticks) {
  for (let digits = 4; ; digits += 1) {
    const found = ticks.map(tick => shortNumber(tick, digits));
    if (digits === 12 || new Set(found).size === ticks.length) return found;
  }
}

// Drawing ------------------------------------------------------------------------------------------------------------

// A canvas knows no light-dark(): an element that is not shown turns the names into colours of the theme.
function colours() {
  const probe = page.appendChild(document.createElement('span'));
  const named = name => {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  };
  const found = themeColours(named);
  probe.remove();
  return found;
}

function themeColours(named) {
  const lines = Array.from({ length: Number(page.dataset.colours) }, (_, index) => named(`--run-${index}`));
  return { lines, text: named('--eg-quiet'), strong: named('--eg-text'), grid: named('--eg-line'), back: named('--eg-card'),
    accent: named('--eg-accent'), font: getComputedStyle(page).fontFamily };
}

// Where the steps and values of a chart are in a box; null without a line.
function frame(key, box) {
  const lines = linesOf(key);
  if (!lines.length) return null;
  const steps = shownSteps(), range = valueRange(lines, steps);
  const up = view.log ? Math.log10 : value => value;
  const [bottom, top] = [up(range.low), up(range.high)];
  return {
    lines, steps, range,
    x: step => box.left + ((step - steps[0]) / (steps[1] - steps[0])) * box.width,
    y: value => box.top + (1 - (up(value) - bottom) / (top - bottom)) * box.height,
    stepAt: x => steps[0] + ((x - box.left) / box.width) * (steps[1] - steps[0]),
  };
}

function drawAxes(context, at, box, paint) {
  context.font = `12px ${paint.font}`;
  context.lineWidth = 1;
  context.strokeStyle = paint.grid;
  context.fillStyle = paint.text;
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  const most = Math.max(2, Math.floor(box.height / 44));
  const ticks = view.log ? logTicks(at.range.low, at.range.high, most + 2) : niceTicks(at.range.low, at.range.high, most);
  const texts = tickTexts(ticks);
  for (const [index, tick] of ticks.entries()) {
    const y = Math.round(at.y(tick)) + 0.5;
    context.beginPath();
    context.moveTo(box.left, y);
    context.lineTo(box.left + box.width, y);
    context.stroke();
    context.fillText(texts[index], box.left - 6, y);
  }
  context.textAlign = 'center';
  context.textBaseline = 'top';
  for (const tick of stepTicks(...at.steps, box.width)) {
    context.fillText(tick.toLocaleString('en-US'), at.x(tick), box.top + box.height + 6);
  }
}

function drawLine(context, at, x, y) {
  context.beginPath();
  let open = false;
  for (let index = 0; index < x.length; index += 1) {
    if (view.log && y[index] <= 0) {
      open = false;
      continue;
    }
    const [left, top] = [at.x(x[index]), at.y(y[index])];
    if (open) context.lineTo(left, top);
    else context.moveTo(left, top);
    open = true;
  }
  context.stroke();
  if (x.length > 1) return;
  context.beginPath(); // one point is no line
  context.arc(at.x(x[0]), at.y(y[0]), 2.5, 0, 7);
  context.fill();
}

function drawLines(context, at, box, paint) {
  context.save();
  context.beginPath();
  context.rect(box.left, box.top, box.width, box.height);
  context.clip();
  context.lineJoin = 'round';
  for (const { run, x, y, raw } of at.lines) {
    context.strokeStyle = context.fillStyle = paint.lines[run.look[0]];
    if (raw) {
      context.globalAlpha = 0.28;
      context.lineWidth = 1;
      drawLine(context, at, raw.x, raw.y);
    }
    context.globalAlpha = 1;
    context.lineWidth = 1.75;
    context.setLineDash(DASHES[run.look[1]]);
    drawLine(context, at, x, y);
    context.setLineDash([]);
  }
  context.restore();
}

// The value of a line nearest to a step.
function nearest({ x, y }, step) {
  let low = 0, high = x.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (x[middle] < step) low = middle;
    else high = middle;
  }
  const index = Math.abs(x[low] - step) <= Math.abs(x[high] - step) ? low : high;
  return [x[index], y[index]];
}

function drawCursor(context, at, box, paint, canvas) {
  if (dragged && dragged.canvas === canvas) {
    const [left, right] = [dragged.from, dragged.to].sort((one, other) => one - other).map(at.x);
    context.globalAlpha = 0.15;
    context.fillStyle = paint.accent;
    context.fillRect(left, box.top, right - left, box.height);
    context.globalAlpha = 1;
  }
  if (cursor === null || cursor < at.steps[0] || cursor > at.steps[1]) return;
  context.strokeStyle = paint.text;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(at.x(cursor), box.top);
  context.lineTo(at.x(cursor), box.top + box.height);
  context.stroke();
}

const boxOf = canvas => ({ left: 62, top: 8, width: canvas.clientWidth - 74, height: canvas.clientHeight - 34 });

function draw(canvas, paint) {
  const key = canvas.dataset.curve, box = boxOf(canvas), at = frame(key, box);
  const figure = canvas.closest('figure'), scale = devicePixelRatio || 1;
  $('.plot', figure).hidden = !at;
  $('.no-values', figure).hidden = Boolean(at);
  $('[data-png]', figure).disabled = !at;
  if (!at) return false;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(canvas.clientHeight * scale);
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  drawAxes(context, at, box, paint);
  drawLines(context, at, box, paint);
  drawCursor(context, at, box, paint, canvas);
  const last = at.lines.map(({ run }) => `${run.name} ${shortNumber(run.curves[key].y.at(-1))}`);
  canvas.setAttribute('aria-label', `${$('figcaption span', figure).textContent}: ${last.join('; ')}`);
  return at.range.leftOut;
}

// PNG ----------------------------------------------------------------------------------------------------------------

function pngOf(key) {
  const canvas = document.createElement('canvas'), paint = colours(), [width, height, scale] = [960, 540, 2];
  const at = frame(key, { left: 70, top: 76, width: width - 94, height: height - 124 });
  [canvas.width, canvas.height] = [width * scale, height * scale];
  const context = canvas.getContext('2d');
  context.scale(scale, scale);
  context.fillStyle = paint.back;
  context.fillRect(0, 0, width, height);
  context.fillStyle = paint.strong;
  context.font = `600 17px ${paint.font}`;
  context.fillText($(`#figure-${key} figcaption span`).textContent, 16, 28);
  const box = { left: 70, top: 76, width: width - 94, height: height - 124 };
  drawAxes(context, at, box, paint);
  drawLines(context, at, box, paint);
  context.fillText(page.dataset.axis, box.left + box.width / 2, height - 22);
  drawLegend(context, at, paint, width);
  return canvas;
}

function drawLegend(context, at, paint, width) {
  const room = (width - 32) / Math.max(1, Math.ceil(at.lines.length / 2));
  context.textAlign = 'left';
  context.textBaseline = 'middle';
  context.font = `13px ${paint.font}`;
  at.lines.forEach(({ run }, index) => {
    const [left, top] = [16 + room * (index >> 1), 46 + 18 * (index % 2)];
    context.strokeStyle = paint.lines[run.look[0]];
    context.setLineDash(DASHES[run.look[1]]);
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(left, top);
    context.lineTo(left + 36, top);
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = paint.strong;
    context.fillText(run.name, left + 42, top, Math.max(20, room - 52));
  });
}

document.addEventListener('click', event => {
  const button = event.target.closest('[data-png]');
  if (!button) return;
  pngOf(button.dataset.png).toBlob(blob => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = `${button.dataset.png}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
});
