// The Train page. It is loaded after page.js, whose functions it uses.
'use strict';

const NEEDED = ['file', 'model'];  // fields without which there is no job
const idOf = name => name.replaceAll('.', '-');

// The form's values are in the address: a reload, a bookmark and another browser show the same.
function valuesOf(form) {
  const found = {};
  for (const [key, value] of new FormData(form)) {
    if (key === 'request-form' || typeof value !== 'string' || !value.trim()) continue;
    found[key] = found[key] ? `${found[key]},${value}` : value;
  }
  return found;
}

// A mistake is said at its field, and what holds the field is opened.
function mark(form, mistakes, open) {
  for (const place of $$('[id^=mistake-]', form)) {
    const name = place.id.slice('mistake-'.length);
    if (name === 'identity' || name === 'hub') continue;
    const key = Object.keys(mistakes).find(one => idOf(one) === name);
    place.textContent = key === undefined ? '' : mistakes[key];
    place.hidden = key === undefined;
    document.getElementById(`field-${name}`)?.setAttribute('aria-invalid', String(key !== undefined));
    for (let at = place.parentElement; open && key !== undefined && at; at = at.parentElement) {
      if (at.nodeName === 'DETAILS') at.open = true;
    }
  }
}

// What an empty setting is: the recipe of these values says it.
function showAutomatic(form, auto) {
  for (const [name, value] of Object.entries(auto)) {
    const control = document.getElementById(`field-${idOf(name)}`);
    if (!control) continue;
    const first = control.options?.[0];
    if (first) first.textContent = value ? `${first.dataset.auto} (${value})` : first.dataset.auto;
    else control.placeholder = value;
  }
}

// Fields that only runs with images have are shown for these, and where one is filled in.
function showStage(form) {
  const sees = form.elements.model.selectedOptions[0]?.dataset.sees !== undefined || form.elements.tower.value;
  $('#part-stage').hidden = !sees && !form.elements.stage.value;
  for (const part of $$('[data-vision]', form)) {
    const filled = $$('input, select, textarea', part).some(one => one.value);
    part.hidden = !sees && !filled;
  }
}

function trainForm(form) {
  let timer = 0, asked = 0, edits = 0, refused = null;

  const later = wait => {
    clearTimeout(timer);
    timer = setTimeout(preview, wait);
  };

  async function preview() {
    const mine = ++asked;
    const values = valuesOf(form), query = new URLSearchParams(values);
    history.replaceState(null, '', `/train?${query}`);
    try {
      const answer = await fetch(`${form.dataset.train}?${query}&form=${form.dataset.nonce}`);
      const found = await answer.json();
      if (mine !== asked) return;
      $('#lost').hidden = answer.ok;
      show(found.parts);
      stillWrong(values, found.mistakes);
      showAutomatic(form, found.auto);
      if (found.more) later(EVERY_MS / 2);
    } catch {
      $('#lost').hidden = false;
      later(EVERY_MS);
    }
  }

  // The marks of these values. Of a form that was refused, an empty field that a job needs stays marked until it is
  // filled in, and the reason beside the button goes when the form is another one and nothing is wrong any more.
  function stillWrong(values, mistakes) {
    const lacking = Object.entries(refused?.mistakes ?? {}).filter(([name]) => NEEDED.includes(name) && !values[name]);
    const left = { ...Object.fromEntries(lacking), ...mistakes };
    mark(form, left);
    if (!refused || Object.keys(left).length || JSON.stringify(values) === refused.values) return;
    refused = null;
    notice('');
  }

  const changed = () => {
    edits += 1;
    showStage(form);
    later(250);
  };

  form.addEventListener('input', event => {
    const { name, type } = event.target;
    if (name && name !== 'request-form' && type !== 'file') changed();
  });

  form.addEventListener('submit', async event => {
    event.preventDefault();
    const button = $('[type=submit]', form);
    button.disabled = true;
    notice('');
    const values = valuesOf(form);
    try {
      const [ok, answer] = await sent(form.dataset.train, { ...values, nonce: `${form.dataset.nonce}-${edits}` });
      if (ok) {
        location.assign(answer.go);
        return;
      }
      refused = { mistakes: answer.mistakes ?? {}, values: JSON.stringify(values) };
      mark(form, refused.mistakes, true);
      notice(answer.error?.message ?? answer.error);
      $('[aria-invalid=true]', form)?.focus();
    } catch {
      $('#lost').hidden = false;
    }
    button.disabled = false;
  });

  for (const input of $$('[data-upload]', form)) uploads(form, input, changed);
  chosenFiles(form, changed);
  identity(form, changed);
  hubModels(form, changed, () => later(0));
  planChanges(form, changed);
  findSettings();
  showStage(form);
  preview();
}

// Files --------------------------------------------------------------------------------------------------------------

function chosenFiles(form, changed) {
  const list = $('#chosen-file');
  const leaveOut = item => {
    item.remove();
    $('#upload-file').focus();
    changed();
  };
  list.addEventListener('click', async event => {
    const button = event.target.closest('button');
    if (!button) return;
    const item = button.closest('li');
    if (button.dataset.leaveOut !== undefined || await deleted(item, button)) leaveOut(item);
  });
  $('#stored-file')?.addEventListener('change', event => {
    const { value, selectedOptions } = event.target;
    if (value) addFile({ id: value, name: selectedOptions[0].textContent, size: '' });
    event.target.value = '';
    changed();
  });
}

// Whether an upload was deleted, after a question; else its reason is said.
async function deleted(item, button) {
  const { value } = $('input', item), status = $('#status-file');
  const question = $('#chosen-file').dataset.ask.replace('{}', () => $('span', item).textContent);
  if (!(await asked(question, button.textContent))) return false;
  button.disabled = true;
  try {
    const [ok, answer] = await sent(`/pages/files/${encodeURIComponent(value)}/delete`);
    [status.textContent, status.hidden] = [ok ? '' : answer.error?.message ?? answer.error, ok];
    status.classList.toggle('mistake', !ok);
    for (const one of $$('#stored-file option, #field-validation option')) if (ok && one.value === value) one.remove();
    return ok;
  } catch {
    $('#lost').hidden = false;
    return false;
  } finally {
    button.disabled = false;
  }
}

function addFile({ id, name, size }) {
  const list = $('#chosen-file');
  if ($$('input', list).some(one => one.value === id)) return;
  const item = document.createElement('li');
  const leave = list.dataset.leave.replace('{}', () => name);
  const records = list.dataset.recordsOf.replace('{}', () => name);
  const deletion = list.dataset.deleteOf.replace('{}', () => name);
  item.innerHTML = '<input type="hidden" name="file"><span></span> <span class="quiet"></span> <a></a> ' +
    '<button type="button" class="button small" data-delete-file></button>' +
    '<button type="button" class="button small" data-leave-out>×</button>';
  $('input', item).value = id;
  [$('span', item).textContent, $('.quiet', item).textContent] = [name, size];
  [$('a', item).textContent, $('a', item).href] = [list.dataset.records, `/data?file=${encodeURIComponent(id)}`];
  [$('a', item).title, $('a', item).ariaLabel] = [records, records];
  const [gone, left] = $$('button', item);
  [gone.textContent, gone.title, gone.ariaLabel] = [list.dataset.delete, deletion, deletion];
  [left.title, left.ariaLabel] = [leave, leave];
  list.append(item);
}

// A file that is here now is chosen: for the field on which it was dropped, or as images if it is an archive.
function choose(form, answer) {
  if (answer.into === 'file') {
    addFile(answer);
    return;
  }
  form.elements[answer.into].add(new Option(answer.name, answer.id, true, true), 1);
  $('#more-data').open = true;
}

function uploads(form, input, changed) {
  const drop = input.closest('.drop');
  const several = files => uploadAll(form, input, [...files], changed);
  input.addEventListener('change', () => several(input.files));
  for (const kind of ['dragover', 'dragleave', 'drop']) {
    drop.addEventListener(kind, event => {
      event.preventDefault();
      drop.classList.toggle('over', kind === 'dragover');
      if (kind === 'drop') several(event.dataTransfer.files);
    });
  }
}

async function uploadAll(form, input, files, changed) {
  const status = $(`#status-${input.dataset.upload}`);
  const [images, others] = imagesAmong(input, files);
  const most = input.dataset.upload === 'file' ? others.length : 1;
  const problems = new Map();
  const note = (problem, names) => {
    if (problem) problems.set(problem, [...problems.get(problem) ?? [], ...names]);  // one line for all that it holds for
    else changed();
  };
  mark(form, {});
  status.classList.remove('mistake');
  if (others.length > most) problems.set(input.dataset.onlyOne, others.slice(most).map(file => file.name));
  for (const file of others.slice(0, most)) note(tooLarge(input, file) || await upload(form, input, file, status), [file.name]);
  if (images.length) note(await uploadImages(form, input, images, status), images.map(image => image.name));
  input.value = '';
  const lines = [...problems].map(([problem, names]) => `${names.join(', ')}: ${problem}`);
  if (lines.length) [status.textContent, status.hidden] = [lines.join('\n'), false];
  status.classList.toggle('mistake', lines.length > 0);
}

function tooLarge(input, file) {
  const most = Number(input.dataset.most);
  if (file.size <= most) return '';
  const mib = size => `${Math.round(size / 2 ** 20).toLocaleString()} MiB`;
  return [mib(file.size), mib(most)].reduce((text, value) => text.replace('{}', () => value), input.dataset.large);
}

// Resolves to why it was refused, or to nothing.
function upload(form, input, file, status) {
  const { upload: into, progress, here } = input.dataset;
  const body = new FormData();
  body.append('into', into);
  body.append('file', file);
  const request = new XMLHttpRequest();
  request.open('POST', '/pages/files');
  request.responseType = 'json';
  request.upload.addEventListener('progress', event => {
    const share = Math.floor(100 * event.loaded / (event.total || 1));
    status.textContent = progress.replace('{}', () => file.name).replace('{}', () => share);
    status.hidden = false;
  });
  return new Promise(done => {
    request.addEventListener('loadend', () => {
      const answer = request.response;
      if (request.status !== 200) {
        done(answer?.error?.message ?? answer?.error ?? $('#lost').textContent);
        return;
      }
      choose(form, answer);
      status.textContent = here.replace('{}', () => answer.name);
      done('');
    });
    request.send(body);
  });
}

function identity(form, changed) {
  const place = $('#mistake-identity'), status = $('#status-identity');
  for (const box of $$('#identity input')) {
    box.addEventListener('keydown', event => {
      if (event.key !== 'Enter') return;
      event.preventDefault();  // it would start the job
      $('#make-identity').click();
    });
  }
  $('#make-identity').addEventListener('click', async event => {
    const body = Object.fromEntries($$('[data-identity]', form).map(one => [one.dataset.identity, one.value]));
    event.target.disabled = true;
    try {
      const [ok, answer] = await sent('/pages/identity', body);
      place.textContent = ok ? '' : answer.error?.message ?? answer.error;
      place.hidden = ok;
      status.textContent = ok ? status.dataset.made.replace('{}', () => answer.name) : '';
      status.hidden = !ok;
      if (ok) {
        choose(form, answer);
        changed();
      }
    } catch {
      $('#lost').hidden = false;
    }
    event.target.disabled = false;
  });
}

// Models of the hub --------------------------------------------------------------------------------------------------

function hubModels(form, changed, refresh) {
  const box = $('#field-hub'), place = $('#mistake-hub'), wanted = new Set();

  async function act(button, body) {
    button.disabled = true;
    try {
      const [ok, answer] = await sent(button.dataset.hubAct ?? box.dataset.hub, body);
      const problem = ok ? '' : answer.error?.message ?? answer.error;
      if (place) [place.textContent, place.hidden] = [problem, ok];
      else notice(problem);
      if (ok) refresh();
      button.disabled = false;
      return ok && answer.model;
    } catch {
      $('#lost').hidden = false;
    }
    button.disabled = false;
    return '';
  }

  const download = async () => {
    const model = await act($('#hub-download'), { model: box.value });
    box.setAttribute('aria-invalid', String(!model));
    if (!model) return;
    wanted.add(model);
    box.value = '';
  };
  $('#hub-download')?.addEventListener('click', download);
  box?.addEventListener('keydown', event => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    if (!$('#hub-download').disabled) download();
  });

  $('#train-downloads').addEventListener('click', async event => {
    const button = event.target.closest('[data-hub-act]');
    if (!button || (button.dataset.hubAsk && !(await asked(button.dataset.hubAsk, button.textContent)))) return;
    const { model, here } = button.closest('li').dataset;
    const done = await act(button, button.dataset.hubAct === box?.dataset.hub ? { model } : {});
    if (!done) return;
    if (button.dataset.hubAct === box?.dataset.hub) wanted.add(model);
    if (!here) return;
    [...form.elements[here].options].find(one => one.value === model)?.remove();
    changed();
  });

  // What has arrived can be chosen, and is where nothing else was.
  document.addEventListener('eg:shown', () => {
    for (const { dataset: { here, model } } of $$('#train-downloads [data-here]')) {
      const choice = form.elements[here];
      if ([...choice.options].some(one => one.value === model)) continue;
      choice.add(new Option(model, model));
      if (choice.value || !wanted.has(model)) continue;
      choice.value = model;
      changed();
    }
  });
}

// The plan and the settings ------------------------------------------------------------------------------------------

// A change that the plan proposes is written into the form.
function planChanges(form, changed) {
  form.addEventListener('click', event => {
    const button = event.target.closest('[data-change]');
    if (!button) return;
    for (const [name, value] of Object.entries(JSON.parse(button.dataset.change))) {
      const control = form.elements[name];
      control.value = value;
      for (let at = document.getElementById(`part-${idOf(name)}`); at; at = at.parentElement) {
        if (at.nodeName === 'DETAILS') at.open = true;
      }
    }
    changed();
  });
}

for (const form of $$('[data-train]')) trainForm(form);
