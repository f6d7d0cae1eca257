// The Train page. It is loaded after page.js, whose functions it uses.
'use strict';

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

for (const form of $$('[data-train]')) trainForm(form);
