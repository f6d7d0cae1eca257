"""The page that a browser without a valid token gets in place of JSON, and the address to which it posts a key.

Both languages are on it, the browser's first: a visitor who is not signed in may have chosen none yet.
"""

from starlette.datastructures import Headers
from starlette.types import Scope

SIGN_IN = "/sign-in"
"""A POST with the token as `Authorization: Bearer` is answered with the cookie of a session: the token is in no
address, so in no history and no log."""
HEAD = """<!doctype html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Eyegraft</title>
<style>
body{{font:1rem/1.6 system-ui,sans-serif;max-width:36rem;margin:2rem auto;padding:0 1rem}}
form{{display:flex;flex-wrap:wrap;gap:.5rem;align-items:end}}
label{{flex:1 1 14rem}}
input,button{{font:inherit;padding:.4rem .8rem;min-height:2.6rem;box-sizing:border-box}}
input{{display:block;width:100%}}
</style>
</head>
<body>
<main>
"""
TAIL = """</main>
<script>
for (const form of document.forms) form.addEventListener("submit", async event => {{
  event.preventDefault();
  const key = form.elements.key.value.trim(), [wrong, lost] = form.querySelectorAll("[role=alert]");
  wrong.hidden = lost.hidden = true;
  if (!/^[!-~]+$/.test(key)) {{  // a header holds nothing else
    wrong.hidden = false;
    return;
  }}
  const headers = {{ authorization: `Bearer ${{key}}` }};
  const answer = await fetch("{address}", {{ method: "POST", headers }}).catch(() => null);
  if (answer && answer.ok) location.reload();
  else (answer ? wrong : lost).hidden = false;
}});
</script>
</body>
</html>
"""
FORM = """<form method="post">
<label>{label}<input type="password" name="key" autocomplete="current-password" required></label>
<button>{button}</button>
<p role="alert" hidden>{wrong}</p>
<p role="alert" hidden>{lost}</p>
</form>
"""
ENGLISH = (
    """<section lang="en">
<h1>This browser is not signed in</h1>
"""
    + FORM.format(
        label="Key (token)",
        button="Sign in",
        wrong="This is not the key of this server. Copy all of it and try again.",
        lost="The server does not answer. Is it still running?",
    )
    + """<p>Or sign in with the link that has the key: <code>/?token=TOKEN</code> after this server's address. A session
ends when the browser is closed.</p>
<p>The command that started the server prints the link to its terminal. The key of <code>eyegraft service</code> is
also in its folder, in the file <code>token</code>.</p>
</section>
"""
)
CHINESE = (
    """<section lang="zh-CN">
<h1>此浏览器尚未登录</h1>
"""
    + FORM.format(
        label="密钥（token）",
        button="登录",
        wrong="密钥不正确，请完整复制后重试。",
        lost="服务器没有响应，请确认它仍在运行。",
    )
    + """<p>也可以用带密钥的链接登录：在本服务器的地址后加上 <code>/?token=TOKEN</code>。关闭浏览器后会话结束。</p>
<p>启动服务器的命令会在终端输出该链接。
<code>eyegraft service</code> 的密钥也在其文件夹的 <code>token</code> 文件中。</p>
</section>
"""
)


def sign_in_page(scope: Scope) -> bytes:
    """The page, the language of the browser first."""
    chinese = Headers(scope=scope).get("accept-language", "").lower().startswith("zh")
    parts = (CHINESE, ENGLISH) if chinese else (ENGLISH, CHINESE)
    head = HEAD.format(lang="zh-CN" if chinese else "en")
    return "".join([head, *parts, TAIL.format(address=SIGN_IN)]).encode()


def wants_page(scope: Scope) -> bool:
    """Whether a browser opens an address: programs ask for JSON, or for anything."""
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and "text/html" in Headers(scope=scope).get("accept", "").lower()
    )
