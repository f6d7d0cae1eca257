// The service's pages are made on the server. This script refreshes their parts and sends what a person does.
'use strict';

const EVERY_MS = 2000;
let wanted = false, wake = () => {};
const refreshNow = () => {
  wanted = true; // also while an answer is under way, which may be too old
  wake();
};
const $ = (query, within = document) => within.querySelector(query);
const $$ = (query, within = document) => [...within.querySelectorAll(query)];

// Refreshing ---------------------------------------------------------------------------------------------------------

// Make `old` what `next` is, changing only what differs: focus, selection and scroll positions stay.
function morph(old, next) {
  if (old.isEqualNode(next)) return;
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || (old.id || '') !== (next.id || '')) {
    old.replaceWith(next);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.nodeValue = next.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !(old.nodeName === 'DETAILS' && name === 'open')) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  morphChildren(old, next);
}

function morphChildren(old, next) {
  const byId = new Map([...old.children].filter(child => child.id).map(child => [child.id, child]));
  let place = old.firstChild;
  for (const child of [...next.childNodes]) {
    const same = child.id && byId.get(child.id);
    if (same && same !== place) old.insertBefore(same, place);
    const target = same || place;
    if (!target || (!same && target.id && byId.has(target.id))) {
      old.insertBefore(child, place);
      continue;
    }
    place = target.nextSibling;
    morph(target, child);
  }
  while (place) {
    const following = place.nextSibling;
    place.remove();
    place = following;
  }
}

function show(parts) {
  for (const [id, html] of Object.entries(parts)) {
    const old = document.getElementById(id);
    if (!old) continue;
    const next = old.cloneNode(false);
    next.innerHTML = html;
    localTimes(next);
    morphChildren(old, next);
  }
  document.dispatchEvent(new CustomEvent('eg:shown'));
}

async function poll(element) {
  let stamp = '';
  for (;;) {
    wanted = false;
    if (!document.hidden) {
      try {
        const url = new URL(element.dataset.poll, location.href);
        url.searchParams.set('stamp', stamp);
        const answer = await fetch(url);
        if (answer.status === 200) {
          const found = await answer.json();
          stamp = found.stamp;
          show(found.parts);
        }
        $('#lost').hidden = answer.ok;
        if (answer.status === 404) return;
      } catch {
        $('#lost').hidden = false;
      }
    }
    if (wanted) continue;
    await new Promise(done => {
      wake = done;
      setTimeout(done, Number(element.dataset.every) || EVERY_MS);
    });
  }
}

// Times in the reader's own zone.
function localTimes(within = document) {
  for (const time of $$('time.local', within)) {
    const moment = new Date(time.dateTime);
    time.title = moment.toLocaleString();
    if (!time.classList.contains('clock')) continue;
    const today = moment.toDateString() === new Date().toDateString();
    time.textContent = today ? moment.toLocaleTimeString() : moment.toLocaleString();
  }
}

// Buttons ------------------------------------------------------------------------------------------------------------

function notice(message, place = $('#notice')) {
  if (!place) return;
  place.textContent = message;
  place.hidden = !message;
}

// Ask once; resolves to whether the answer is yes.
function asked(question, yes) {
  const dialog = $('#ask');
  $('#ask-text').textContent = question;
  $('#ask-yes').textContent = yes;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise(done => dialog.addEventListener('close', () => done(dialog.returnValue === 'yes'), { once: true }));
}

async function sent(address, body) {
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(address, { method: 'POST', headers, body: JSON.stringify(body ?? {}) });
  return [answer.ok, await answer.json()];
}

document.addEventListener('click', async event => {
  const button = event.target.closest('[data-act]');
  if (!button || (button.dataset.ask && !(await asked(button.dataset.ask, button.textContent)))) return;
  const place = $(button.dataset.notice || '#notice');
  const fields = button.dataset.fields ? $$('select', $(button.dataset.fields)) : [];
  button.disabled = true;
  notice('', place);
  try {
    const [ok, answer] = await sent(button.dataset.act, Object.fromEntries(fields.map(one => [one.name, one.value])));
    if (!ok) notice(answer.error?.message ?? answer.error, place);
    else if (answer.go) location.assign(answer.go);
    else refreshNow();
  } catch {
    $('#lost').hidden = false;
  } finally {
    button.disabled = false;
  }
});

for (const button of $$('#ask button')) button.addEventListener('click', () => $('#ask').close(button.value));

// Copying ------------------------------------------------------------------------------------------------------------

document.addEventListener('click', async event => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const shown = $$('pre', button.closest('section')).find(one => one.offsetParent);
  await navigator.clipboard?.writeText(shown.textContent);
  const before = button.textContent;
  button.textContent = button.dataset.copy;
  setTimeout(() => { button.textContent = before; }, EVERY_MS);
});

// Another language of the same address ---------------------------------------------------------------------------------

document.addEventListener('click', event => {
  const link = event.target.closest('.languages a');
  if (!link) return;
  const query = new URLSearchParams(location.search);
  query.set('lang', link.hreflang.slice(0, 2));
  link.href = `?${query}`;
}, { capture: true });

// The table's filter -------------------------------------------------------------------------------------------------

function tableFilter(form) {
  const table = document.getElementById(form.dataset.filter);
  let timer = 0;
  const changed = () => {
    const query = new URLSearchParams(location.search);
    for (const [key, value] of new FormData(form)) {
      if (value && value !== 'all') query.set(key, value);
      else query.delete(key);
    }
    history.replaceState(null, '', `?${query}`);
    table.dataset.poll = `/pages/jobs?${query}`;
    refreshNow();
  };
  form.addEventListener('submit', event => event.preventDefault());
  form.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(changed, 200);
  });
}

// The theme -----------------------------------------------------------------------------------------------------------

// The server sets the theme of a page that it sends; this changes it in place. Without a script the links do it.
for (const link of $$('.top .themes a')) {
  link.addEventListener('click', event => {
    event.preventDefault();
    const choice = link.dataset.choice;
    document.cookie = `eyegraft_theme=${choice}; Path=/; Max-Age=31536000; SameSite=Strict`;
    document.documentElement.dataset.theme = choice;
    const dark = choice === 'dark' || (choice === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
    if ($('gradio-app')) document.body.classList.toggle('dark', dark);
  });
}

// Gradio's page ------------------------------------------------------------------------------------------------------

const PLACES = ['chat', 'compare', 'data'];

function openTab(place) {
  document.getElementById(`tab-${place}-button`)?.click();
  for (const link of $$('.top .pages a')) {
    if (link.dataset.page === place) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

function gradioTabs() {
  const first = location.pathname.slice(1);
  const opened = new MutationObserver(() => {
    if (!document.getElementById('tab-data-button')) return;
    opened.disconnect();
    openTab(first);
  });
  opened.observe(document.body, { childList: true, subtree: true });
  for (const link of $$('.top .pages a').filter(one => PLACES.includes(one.dataset.page))) {
    link.addEventListener('click', event => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      history.pushState(null, '', link.href);
      openTab(link.dataset.page);
    });
  }
  addEventListener('popstate', () => openTab(location.pathname.slice(1)));
}

// Start --------------------------------------------------------------------------------------------------------------

localTimes();
// After the scripts that follow this one: a first answer that came before they listen would never be shown by them.
document.addEventListener('DOMContentLoaded', () => $$('[data-poll]').forEach(poll));
for (const form of $$('[data-filter]')) tableFilter(form);
if (!$('#main') && PLACES.includes(location.pathname.slice(1))) gradioTabs();
