// The search among all settings of the Train page. It is loaded after page.js and before train.js.
'use strict';

const FILLERS = /[的了吗呢么几多少怎样]/g;  // characters of a question that no setting is named by

// A field is found by all words of the search in its title, key, help and other names; those that the form has above
// are named. Chinese has no spaces between words: where nothing has the text as it is, a field that has all of its
// characters is found.
function findSettings() {
  const find = $('#find-setting');
  const textOf = field => `${field.textContent} ${field.dataset.sought ?? ''}`.toLowerCase();
  const has = (field, parts) => parts.every(part => textOf(field).includes(part));
  find.addEventListener('keydown', event => event.key === 'Enter' && event.preventDefault());
  find.addEventListener('input', () => {
    const words = find.value.trim().toLowerCase().split(/[\s_]+/).filter(Boolean);
    const fields = $$('#all-settings .field'), above = $$('[data-basic] .field, fieldset[data-basic]');
    const open = [...fields, ...above].filter(field => !field.closest('[hidden]'));
    const single = words.flatMap(word => /[\u4e00-\u9fff]/.test(word) ? [...word.replace(FILLERS, '')] : [word]);
    const shown = [words, single].map(parts => open.filter(field => has(field, parts))).find(found => found.length);
    const kept = new Set(single.length ? shown : words.length ? [] : fields);
    for (const field of fields) field.classList.toggle('other', !kept.has(field));
    for (const group of $$('#all-settings .group')) {
      group.classList.toggle('other', !$$('.field', group).some(field => kept.has(field)));
      if (words.length) group.open = true;
    }
    $('#none-found').hidden = kept.size > 0;
    const place = $('#found-above'), there = above.filter(field => kept.has(field));
    const names = there.map(field => $('label, legend', field).textContent).join(', ');
    [place.textContent, place.hidden] = [place.dataset.said.replace('{}', () => names), !there.length];
  });
}
