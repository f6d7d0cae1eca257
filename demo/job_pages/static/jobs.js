// The table of jobs: rows are made as they are looked at, heads sort in place, and jobs are marked to be compared.
'use strict';

const jobsTable = $('#jobs');
const NEAR = 1.5; // screens above and below what is seen, for which rows are made too

// Rows ---------------------------------------------------------------------------------------------------------------

function nearChunks() {
  const margin = NEAR * innerHeight;
  const near = $$('tbody[data-chunk]', jobsTable).filter(body => {
    const box = body.getBoundingClientRect();
    return box.bottom > -margin && box.top < innerHeight + margin;
  });
  return near.map(body => body.dataset.chunk);
}

// The height of a row that is not made, so that the bar of the scroll is right.
function measureRow() {
  const body = $('tbody[data-chunk]:not(.unread)', jobsTable);
  const rows = body?.children.length;
  if (!rows) return;
  const height = Math.round((body.lastElementChild.getBoundingClientRect().bottom - body.getBoundingClientRect().top) / rows);
  if (height && jobsTable.dataset.height !== String(height)) {
    jobsTable.dataset.height = height;
    jobsTable.style.setProperty('--row-height', `${height}px`);
  }
}

function askForRows(query = new URLSearchParams(location.search)) {
  const chunks = nearChunks();
  const asked = new URLSearchParams(query);
  asked.delete('mark');
  for (const chunk of chunks.length ? chunks : ['0']) asked.append('chunk', chunk);
  const address = `/pages/jobs?${asked}`;
  const changed = jobsTable.dataset.poll !== address;
  jobsTable.dataset.poll = address;
  return changed;
}

let scrolled = 0;
addEventListener('scroll', () => {
  if (scrolled) return;
  scrolled = setTimeout(() => {
    scrolled = 0;
    if (askForRows() && $('.unread', jobsTable)) refreshNow();
  }, 80);
}, { passive: true });
addEventListener('resize', () => askForRows());

// Sorting ------------------------------------------------------------------------------------------------------------

document.addEventListener('click', event => {
  const link = event.target.closest('a.sort');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const query = new URLSearchParams(link.search);
  for (const id of marked) query.append('mark', id);
  history.replaceState(null, '', `?${query}`);
  askForRows(query);
  refreshNow();
});

// Marks: in the address, so that a reload keeps them -------------------------------------------------------------------

const marked = new Set(new URLSearchParams(location.search).getAll('mark'));

function showMarks() {
  const bar = $('#marks'), compare = $('#marks-compare'), most = Number(bar.dataset.limit);
  for (const box of $$('input.mark', jobsTable)) box.checked = marked.has(box.value);
  bar.hidden = !marked.size;
  const count = bar.dataset.marked.replace('{}', marked.size);
  $('#marks-count').textContent = marked.size > most ? `${count}. ${bar.dataset.most}` : count;
  const query = new URLSearchParams([...marked].map(id => ['run', id]));
  if (marked.size > most) compare.removeAttribute('href');
  else compare.href = `/curves?${query}`;
}

function keepMarks() {
  const query = new URLSearchParams(location.search);
  query.delete('mark');
  for (const id of marked) query.append('mark', id);
  history.replaceState(null, '', `?${query}`);
  showMarks();
}

jobsTable.addEventListener('change', event => {
  if (!event.target.matches('input.mark')) return;
  if (event.target.checked) marked.add(event.target.value);
  else marked.delete(event.target.value);
  keepMarks();
});
$('#marks-clear').addEventListener('click', () => {
  marked.clear();
  keepMarks();
  $('input.mark', jobsTable)?.focus();
});

document.addEventListener('eg:shown', () => {
  measureRow();
  showMarks();
  if (askForRows() && $('.unread', jobsTable)) refreshNow();
});
measureRow();
showMarks();
askForRows();
