"""What is measured inside the page, as JavaScript: each returns what is wrong, an empty list if nothing is."""

# Cells and labels of three or more lines with fewer than four letters each: [text, number of lines].
CELLS = "td, th, .eg-card p, label span"
STACKED = f"""() => [...document.querySelectorAll({CELLS!r})].filter(e => e.offsetParent).map(e => {{
  const range = document.createRange(), texts = document.createTreeWalker(e, NodeFilter.SHOW_TEXT), tops = new Set();
  while (texts.nextNode()) {{
    range.selectNodeContents(texts.currentNode);
    for (const box of range.getClientRects()) tops.add(Math.round(box.top));
  }}
  const lines = tops.size;
  const clipped = e.closest('thead') && getComputedStyle(e.closest('thead')).position === 'absolute';
  return [e.innerText, clipped ? 0 : lines];
}}).filter(([text, lines]) => lines > 2 && text.length / lines < 4)"""

# Controls, tables and charts without a name for a screen reader.
UNNAMED = """() => {
  const kinds = 'input, textarea, select, button, table, svg[role=img]:not([aria-hidden]), [role=log]';
  const named = e => {
    const ids = (e.getAttribute('aria-labelledby') || '').split(' ');
    const labelled = ids.map(id => document.getElementById(id)?.innerText).join('');
    const label = e.labels ? [...e.labels].map(l => l.innerText).join('') : '';
    const own = e.tagName === 'BUTTON' ? e.innerText : '';
    return [e.getAttribute('aria-label'), e.title, labelled, label, own].some(t => t && t.trim());
  };
  const shown = [...document.querySelectorAll(kinds)].filter(e => e.getClientRects().length);
  return shown.filter(e => !named(e)).map(e => e.outerHTML.slice(0, 160));
}"""

# The levels of all headings in their order.
HEADINGS = """() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]
  .filter(e => e.getClientRects().length).map(e => Number(e.tagName[1]))"""

# Texts and placeholders with a contrast below 4.5 (WCAG 2, level AA): [ratio, text, element, class].
CONTRAST = """() => {
  const parse = c => {
    const n = c.match(/[\\d.]+/g).map(Number), k = c.startsWith('color(') ? 255 : 1;
    return [n[0] * k, n[1] * k, n[2] * k, n.length > 3 ? n[3] : 1];
  };
  const linear = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = c.map(linear); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const over = (top, below) => below.map((v, i) => top[i] * top[3] + v * (1 - top[3]));
  const below = e => {
    const all = [];
    for (let at = e; at; at = at.parentElement) all.push(parse(getComputedStyle(at).backgroundColor));
    return all.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const faint = [];
  for (const e of document.querySelectorAll('body *')) {
    if (!e.getClientRects().length || e.closest('svg') || e.disabled || ['radio', 'range'].includes(e.type)) continue;
    const own = [...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join('');
    const text = own || e.value || e.placeholder || '';
    if (!text || getComputedStyle(e).visibility === 'hidden' || Number(getComputedStyle(e).opacity) === 0) continue;
    const style = getComputedStyle(e, !own && !e.value ? '::placeholder' : null);
    const [a, b] = [light(over(parse(style.color), below(e))), light(below(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push([ratio.toFixed(2), text.slice(0, 40), e.tagName, String(e.className).slice(0, 40)]);
  }
  return faint;
}"""
