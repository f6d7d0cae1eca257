"""What a visitor has chosen stays chosen when the page is loaded again, in another language or theme too.

It is stored for the tab of the browser. A page that is opened from elsewhere begins with what its address names. The
functions below run in the browser.
"""

_AGAIN = """(() => {
  const asked = new URLSearchParams(location.search);
  const kind = performance.getEntriesByType('navigation')[0]?.type;
  return kind === 'reload' || asked.has('lang') || asked.has('theme');
})()"""


def keep(key: str) -> str:
    """Stores the choices that are its inputs; one in a tab that is not shown has no value, and stays as it was."""
    return f"""(...chosen) => {{
  const kept = JSON.parse(sessionStorage.getItem('{key}') || '[]');
  sessionStorage.setItem('{key}', JSON.stringify(chosen.map((name, at) => name ?? kept[at] ?? null)));
}}"""


def asked_and_kept(key: str, *parameters: str) -> str:
    """The values of an event that chooses when the page is loaded.

    Its inputs are a text for each of the `parameters` of the address, one that is empty unless the choices were stored,
    then the choices: the stored ones, None for one that was not.
    """
    asked = ", ".join(f"asked.get('{name}') || ''" for name in parameters)
    return f"""(...values) => {{
  const asked = new URLSearchParams(location.search), chosen = values.slice({len(parameters) + 1});
  if (!{_AGAIN}) sessionStorage.removeItem('{key}');
  const kept = JSON.parse(sessionStorage.getItem('{key}') || '[]');
  if (!kept.some(name => name)) return [{asked}, '', ...chosen];
  return [...Array({len(parameters)}).fill(''), 'kept', ...chosen.map((_, at) => kept[at] ?? null)];
}}"""
