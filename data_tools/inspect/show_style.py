"""The style sheet of the page of `data show`, light and dark, with system fonts."""

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1f2733; --faint: #667085; --paper: #f5f6f8; --card: #fff; --line: #dfe3e9; --cut: rgba(15, 23, 42, .11);
  --learnt: #d5f5df; --learnt-ink: #0b5228; --image: #dbe8ff; --image-ink: #1d4fb8; --rail: #94a7c4;
  --warn: #fff1d6; --warn-ink: #7a4a00; --fill: #6b9bf2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #dfe4ec; --faint: #98a2b3; --paper: #12151b; --card: #1b2028; --line: #303844;
    --cut: rgba(255, 255, 255, .13);
    --learnt: #12452a; --learnt-ink: #b5f2cb; --image: #1c335e; --image-ink: #bcd5ff; --rail: #52637e;
    --warn: #46340f; --warn-ink: #ffdc99; --fill: #4d7fdc;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1060px; padding: 32px 24px 64px; background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", "PingFang SC",
    "Microsoft YaHei", sans-serif;
}
h1 { margin: 0; font-size: 22px; overflow-wrap: anywhere; }
header p { margin: 6px 0 0; color: var(--faint); overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 8px; align-items: center; font-size: 14px; }
.legend span { color: var(--ink); }
.warning { padding: 8px 12px; border-radius: 8px; background: var(--warn); color: var(--warn-ink); }
section { margin-top: 36px; }
h2 { margin: 0 0 8px; font-size: 16px; }
.bar { display: flex; height: 10px; border-radius: 5px; overflow: hidden; background: var(--line); }
.bar i { background: var(--fill); border-right: 2px solid var(--paper); }
article {
  margin-top: 14px; padding: 12px 16px 14px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--card);
}
h3 { margin: 0 0 8px; font-size: 13px; font-weight: 500; color: var(--faint); overflow-wrap: anywhere; }
h3 em {
  display: inline-block; min-width: 22px; margin-right: 6px; padding: 0 6px; border-radius: 11px; text-align: center;
  font-style: normal; font-weight: 600; background: var(--fill); color: #fff;
}
h4 { margin: 0 0 2px; font-size: 12px; font-weight: 500; color: var(--faint); }
pre {
  margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13.5px/1.75 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK SC", "PingFang SC",
    "Microsoft YaHei", monospace;
}
pre i { font-style: normal; box-shadow: inset -1px 0 var(--cut); }
mark { padding: 1px 0; border-radius: 3px; background: var(--learnt); color: var(--learnt-ink); }
.legend mark, .legend b { padding: 1px 8px; border-radius: 6px; }
b { font-weight: 500; background: var(--image); color: var(--image-ink); }
pre b {
  display: inline-flex; align-items: center; gap: 8px; max-width: 100%; margin: 2px 0; padding: 4px 10px 4px 4px;
  border-radius: 8px; vertical-align: middle; white-space: normal;
}
b small { opacity: .75; }
img { display: block; max-width: 160px; max-height: 160px; border-radius: 5px; }
.prefix { padding-bottom: 8px; }
.branch { margin-left: 14px; padding: 6px 0 6px 14px; border-left: 2px solid var(--rail); }
.branch + .branch { border-top: 1px dashed var(--line); }
"""
