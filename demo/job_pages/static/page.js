// The service's pages are made on the server. This script refreshes their parts and sends what a person does.
'use strict';

const EVERY_MS = 2000;
let refreshNow = () => {};
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
}

async function poll(element) {
  let stamp = '';
  for (;;) {
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
    await new Promise(done => {
      refreshNow = done;
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

function notice(message) {
  const place = $('#notice');
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
  button.disabled = true;
  notice('');
  try {
    const [ok, answer] = await sent(button.dataset.act);
    if (!ok) notice(answer.error?.message ?? answer.error);
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

// Training -----------------------------------------------------------------------------------------------------------

// The form's values are in the address: a reload, a bookmark and another browser show the same.
function valuesOf(form) {
  const found = {};
  for (const [key, value] of new FormData(form)) {
    if (key !== 'request-form' && typeof value === 'string' && value.trim()) found[key] = value;
  }
  return found;
}

function mark(form, mistakes) {
  for (const place of $$('.mistake[id]', form)) {
    const name = place.id.slice('mistake-'.length);
    place.textContent = mistakes[name] ?? '';
    place.hidden = !mistakes[name];
    form.elements[name]?.setAttribute?.('aria-invalid', String(Boolean(mistakes[name])));
  }
}

function showStage(form) {
  const sees = form.elements.model.selectedOptions[0]?.dataset.sees !== undefined;
  $('#part-stage').hidden = !sees && !form.elements.tower.value;
}

function trainForm(form) {
  let timer = 0, asked = 0, edits = 0;

  const later = wait => {
    clearTimeout(timer);
    timer = setTimeout(preview, wait);
  };

  async function preview() {
    const mine = ++asked;
    const query = new URLSearchParams(valuesOf(form));
    history.replaceState(null, '', `/train?${query}`);
    try {
      const answer = await fetch(`${form.dataset.train}?${query}`);
      const found = await answer.json();
      if (mine !== asked) return;
      $('#lost').hidden = answer.ok;
      show(found.parts);
      mark(form, found.mistakes);
      if (found.more) later(EVERY_MS / 2);
    } catch {
      $('#lost').hidden = false;
      later(EVERY_MS);
    }
  }

  const changed = () => {
    edits += 1;
    showStage(form);
    later(250);
  };

  form.addEventListener('input', event => {
    if (event.target.name !== 'request-form' && event.target.type !== 'file') changed();
  });

  form.addEventListener('submit', async event => {
    event.preventDefault();
    const button = $('[type=submit]', form);
    button.disabled = true;
    notice('');
    try {
      const [ok, answer] = await sent(form.dataset.train, { ...valuesOf(form), nonce: `${form.dataset.nonce}-${edits}` });
      if (ok) {
        location.assign(answer.go);
        return;
      }
      mark(form, answer.mistakes ?? {});
      notice(answer.error?.message ?? answer.error);
      $('[aria-invalid=true]', form)?.focus();
    } catch {
      $('#lost').hidden = false;
    }
    button.disabled = false;
  });

  for (const input of $$('[data-upload]', form)) uploads(form, input, changed);
  showStage(form);
  preview();
}

function uploads(form, input, changed) {
  const drop = input.closest('.drop');
  input.addEventListener('change', () => input.files[0] && upload(form, input, input.files[0], changed));
  for (const kind of ['dragover', 'dragleave', 'drop']) {
    drop.addEventListener(kind, event => {
      event.preventDefault();
      drop.classList.toggle('over', kind === 'dragover');
      const file = event.dataTransfer?.files[0];
      if (kind === 'drop' && file) upload(form, input, file, changed);
    });
  }
}

function upload(form, input, file, changed) {
  const { into, progress } = input.dataset;
  const status = $(`#status-${into}`), select = form.elements[into];
  const body = new FormData();
  body.append('purpose', input.dataset.upload);
  body.append('file', file);
  const request = new XMLHttpRequest();
  request.open('POST', '/pages/files');
  request.responseType = 'json';
  request.upload.addEventListener('progress', event => {
    const share = Math.floor(100 * event.loaded / (event.total || 1));
    status.textContent = progress.replace('{}', () => file.name).replace('{}', () => share);
    status.hidden = false;
  });
  request.addEventListener('loadend', () => {
    const answer = request.response;
    input.value = '';
    status.hidden = request.status === 200;
    if (request.status === 200) {
      select.add(new Option(answer.name, answer.id, true, true), 1);
      changed();
    } else {
      status.textContent = answer?.error?.message ?? answer?.error ?? $('#lost').textContent;
    }
    mark(form, {});
  });
  mark(form, {});
  request.send(body);
}

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
for (const element of $$('[data-poll]')) poll(element);
for (const form of $$('[data-train]')) trainForm(form);
for (const form of $$('[data-filter]')) tableFilter(form);
if (!$('#main') && PLACES.includes(location.pathname.slice(1))) gradioTabs();
