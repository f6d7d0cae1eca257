// The page of curves, after page.js and curve_chart.js: its data, its address, and what a reader does with the charts.
'use strict';

const page = $('#curves');
const charts = $$('canvas[data-curve]');
const runs = new Map(); // id: name, colour and dash, stamp, and curves by name
const view = { smooth: 0, log: false, from: null, to: null, hidden: new Set() };
let cursor = null; // a step
let dragged = null; // the chart and both ends of the steps that are being selected

// The address has what is seen: a reload and another browser show the same --------------------------------------------

function readAddress() {
  const query = new URLSearchParams(location.search);
  const number = key => (query.has(key) && Number.isFinite(Number(query.get(key))) ? Number(query.get(key)) : null);
  view.smooth = Math.min(0.99, Math.max(0, number('smooth') ?? 0));
  view.log = query.get('log') === '1';
  [view.from, view.to] = [number('from'), number('to')];
  if (view.from === null || view.to === null || view.from >= view.to) view.from = view.to = null;
  view.hidden = new Set(query.getAll('hide'));
}

function keepAddress() {
  const query = new URLSearchParams(location.search);
  for (const key of ['smooth', 'log', 'from', 'to', 'hide']) query.delete(key);
  if (view.smooth) query.set('smooth', view.smooth);
  if (view.log) query.set('log', '1');
  if (view.from !== null) for (const key of ['from', 'to']) query.set(key, Number(view[key].toPrecision(7)));
  for (const id of view.hidden) query.append('hide', id);
  history.replaceState(null, '', `?${query}`);
}

function changed() {
  keepAddress();
  showControls();
  drawSoon();
  if (askFor()) refreshNow();
}

// Data ---------------------------------------------------------------------------------------------------------------

function takeData() {
  for (const element of $$('[data-run]', page)) {
    const content = element.textContent;
    if (!content) continue;
    const { run: id, number, name } = element.dataset;
    const known = runs.get(id);
    if (known && known.content === content) continue;
    const look = [number % page.dataset.colours, number % page.dataset.dashes];
    const finer = known?.finer;
    runs.set(id, { id, name, number: Number(number), look, content, finer, ...JSON.parse(content) });
  }
  for (const element of $$('[data-range]', page)) {
    const run = runs.get(element.dataset.range), content = element.textContent;
    if (!run || !content || run.finer?.content === content) continue;
    if (Number(element.firstElementChild.dataset.share) < 1) setTimeout(refreshNow, 100); // the rest of a long file
    else run.finer = { content, ...JSON.parse(content) };
  }
  askFor();
}

const MARGIN = 0.25; // of the steps that are seen, on either side: lines reach the edge, means have their past

// What is asked for at the next refresh: of steps that are zoomed and whose buckets are wider than a step, finer ones.
function askFor() {
  const query = new URLSearchParams(page.dataset.poll.split('?')[1]);
  for (const key of ['have', 'from', 'to']) query.delete(key);
  for (const { stamp, finer } of runs.values()) {
    query.append('have', stamp);
    if (finer) query.append('have', finer.stamp);
  }
  const coarse = [...runs.values()].some(run => Object.values(run.curves).some(curve => curve.mx));
  if (view.from !== null && coarse) {
    const room = MARGIN * (view.to - view.from);
    query.set('from', Math.max(0, Math.floor(view.from - room)));
    query.set('to', Math.ceil(view.to + room));
  }
  page.dataset.poll = `/pages/curves?${query}`;
  return query.has('from');
}

// The finest curves that there are of the steps that are seen.
function curvesOf(run) {
  const [low, high] = run.finer?.range ?? [Infinity, 0];
  return view.from !== null && low <= Math.max(0, view.from) && high >= view.to ? run.finer.curves : run.curves;
}

// The exponential moving average, without the pull of its start towards 0 (Kingma and Ba 2014, section 3).
function smoothed(values, weight) {
  let mean = 0, left = 1;
  return values.map(value => {
    mean = weight * mean + (1 - weight) * value;
    left *= weight;
    return mean / (1 - left);
  });
}

// The lines of a chart: the values as they are, and, where they are smoothed, what is drawn above them.
function linesOf(key) {
  const found = [];
  for (const run of [...runs.values()].sort((one, other) => one.number - other.number)) {
    const curve = curvesOf(run)[key];
    if (!curve || view.hidden.has(run.id)) continue;
    const line = { run, x: curve.x, y: curve.y, raw: null };
    if (view.smooth) {
      line.raw = { x: curve.x, y: curve.y };
      line.x = curve.mx ?? curve.x;
      line.y = smoothed(curve.my ?? curve.y, view.smooth);
    }
    found.push(line);
  }
  return found;
}

function allSteps() {
  let low = Infinity, high = -Infinity;
  for (const run of runs.values()) {
    if (view.hidden.has(run.id)) continue;
    for (const { x } of Object.values(run.curves)) {
      low = Math.min(low, x[0]);
      high = Math.max(high, x[x.length - 1]);
    }
  }
  if (low > high) return [0, 1];
  return low === high ? [low - 1, high + 1] : [low, high];
}

const shownSteps = () => (view.from === null ? allSteps() : [view.from, view.to]);

let frameWanted = 0;
function drawSoon() {
  frameWanted ||= requestAnimationFrame(() => {
    frameWanted = 0;
    const paint = colours();
    $('#not-positive').hidden = !charts.map(canvas => draw(canvas, paint)).some(Boolean);
  });
}

// The values under the pointer ---------------------------------------------------------------------------------------

function lineImage([colour, dash]) {
  return `<svg viewBox="0 0 40 12" class="line" aria-hidden="true"><polyline points="1,6 39,6" class="run-${colour} dash-${dash}"/></svg>`;
}

function showTip(canvas) {
  const tip = $('.tip', canvas.parentElement), box = boxOf(canvas), at = frame(canvas.dataset.curve, box);
  for (const other of $$('.tip')) other.hidden = other !== tip || cursor === null || !at;
  if (tip.hidden) return;
  const rows = at.lines.map(line => {
    const row = document.createElement('div'), name = document.createElement('span'), value = document.createElement('b');
    const [step, found] = nearest(line, cursor);
    name.textContent = line.run.name;
    value.textContent = shortNumber(found);
    value.title = step;
    row.innerHTML = lineImage(line.run.look);
    row.append(name, value);
    return row;
  });
  const head = document.createElement('div');
  head.textContent = page.dataset.step.replace('{}', Math.round(cursor).toLocaleString('en-US'));
  tip.replaceChildren(head, ...rows);
  const right = at.x(cursor) < box.left + box.width / 2;
  tip.style.left = right ? `${at.x(cursor) + 10}px` : 'auto';
  tip.style.right = right ? 'auto' : `${canvas.clientWidth - at.x(cursor) + 10}px`;
}

function hideTip() {
  cursor = null;
  for (const tip of $$('.tip')) tip.hidden = true;
  drawSoon();
}

// Pointer, keyboard and controls -------------------------------------------------------------------------------------

function zoom(from, to) {
  const [low, high] = allSteps();
  [view.from, view.to] = from === null || (from <= low && to >= high) ? [null, null] : [from, to];
  changed();
}

for (const canvas of charts) {
  const stepOf = event => {
    const box = boxOf(canvas), inside = Math.min(box.left + box.width, Math.max(box.left, event.offsetX));
    return frame(canvas.dataset.curve, box)?.stepAt(inside) ?? null;
  };
  canvas.addEventListener('pointermove', event => {
    cursor = stepOf(event);
    if (dragged) dragged.to = cursor;
    showTip(canvas);
    drawSoon();
  });
  canvas.addEventListener('pointerdown', event => {
    const step = stepOf(event);
    if (event.button || step === null) return;
    canvas.setPointerCapture(event.pointerId);
    dragged = { canvas, from: step, to: step, x: event.offsetX };
  });
  canvas.addEventListener('pointerup', event => {
    const done = dragged;
    dragged = null;
    if (done && Math.abs(event.offsetX - done.x) > 5) zoom(...[done.from, done.to].sort((one, other) => one - other));
    else drawSoon();
  });
  canvas.addEventListener('pointercancel', () => {
    dragged = null;
    hideTip();
  });
  canvas.addEventListener('pointerleave', hideTip);
  canvas.addEventListener('blur', hideTip);
  canvas.addEventListener('dblclick', () => zoom(null));
  canvas.addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [from, to] = shownSteps(), size = to - from, middle = cursor ?? (from + to) / 2;
    const about = factor => zoom(middle - (middle - from) * factor, middle + (to - middle) * factor);
    const moved = step => { cursor = Math.min(to, Math.max(from, step)); };
    const keys = {
      ArrowLeft: () => moved(middle - size / 50), ArrowRight: () => moved(middle + size / 50), Home: () => moved(from),
      End: () => moved(to), '+': () => about(0.5), '=': () => about(0.5), '-': () => about(2), 0: () => zoom(null),
      Escape: () => zoom(null),
    };
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
    showTip(canvas);
    drawSoon();
  });
}

function showControls() {
  $('#smooth').value = view.smooth;
  $('#smooth-value').textContent = view.smooth;
  $('#log').checked = view.log;
  $('#reset').disabled = view.from === null;
  for (const box of $$('#curves-values input')) box.checked = !view.hidden.has(box.value);
}

$('#smooth')?.addEventListener('input', event => { view.smooth = Number(event.target.value); changed(); });
$('#log')?.addEventListener('change', event => { view.log = event.target.checked; changed(); });
$('#reset')?.addEventListener('click', () => zoom(null));
$('#curves-values')?.addEventListener('change', event => {
  if (event.target.checked) view.hidden.delete(event.target.value);
  else view.hidden.add(event.target.value);
  changed();
});

// Start --------------------------------------------------------------------------------------------------------------

if (page) {
  readAddress();
  showControls();
  document.addEventListener('eg:shown', () => {
    takeData();
    showControls();
    drawSoon();
    if ($('#curves-notes [role=status]')) setTimeout(refreshNow, 100); // the rest of a long file
  });
  new ResizeObserver(drawSoon).observe(page);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawSoon);
}
