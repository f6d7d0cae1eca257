"""The page that a browser without a valid token gets, in English and Chinese, in place of JSON."""

from starlette.datastructures import Headers
from starlette.types import Scope

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Eyegraft</title>
<style>body{font:1rem/1.6 system-ui,sans-serif;max-width:36rem;margin:3rem auto;padding:0 1rem}</style>
</head>
<body>
<main>
<h1>This browser is not signed in</h1>
<p>Sign in with the link that has the token: <code>/?token=TOKEN</code> after this server's address. A session ends when
the browser is closed.</p>
<p>The command that started the server prints the link to its terminal. The token of <code>eyegraft service</code> is
also in its folder, in the file <code>token</code>.</p>
<section lang="zh-CN">
<h1>此浏览器尚未登录</h1>
<p>请用带密钥的链接登录：在本服务器的地址后加上 <code>/?token=TOKEN</code>。关闭浏览器后会话结束。</p>
<p>启动服务器的命令会在终端输出该链接。
<code>eyegraft service</code> 的密钥也在其文件夹的 <code>token</code> 文件中。</p>
</section>
</main>
</body>
</html>
""".encode()


def wants_page(scope: Scope) -> bool:
    """Whether a browser opens an address: programs ask for JSON, or for anything."""
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "HEAD")
        and "text/html" in Headers(scope=scope).get("accept", "").lower()
    )
