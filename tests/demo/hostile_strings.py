"""Two hundred texts that do harm where a text becomes a command, a path, an address, a query, markup or code."""

from pathlib import Path

from tests.demo.payloads import XSS, image_urls

COUNT = 200


def hostile_strings(canary: Path, secret: Path, url: str) -> list[str]:
    """The texts. Run as code they create `canary`; as a path they read `secret`; as an address they ask `url`."""
    found = [
        *_commands(f"touch {canary}"),
        *_code(str(canary)),
        *_paths(str(secret), str(canary)),
        *_addresses(url),
        *image_urls(str(secret), url),
        *_queries(),
        *XSS[:20],
        *_odd_texts(),
        *_other_types(),
    ]
    texts = list(dict.fromkeys(found))
    assert len(texts) >= COUNT, len(texts)
    return texts


def _commands(run: str) -> list[str]:
    """For a shell, an option parser or a scheduler."""
    return [
        f"; {run}", f"& {run} &", f"| {run}", f"|| {run}", f"&& {run}", f"$({run})", f"`{run}`", f"\n{run}\n",
        f"\r\n{run}", f"'; {run}; '", f'"; {run}; "', f"a$(IFS=_;{run.replace(' ', '_')})", f"() {{ :;}}; {run}",
        f"<({run})", f"${{x:-$({run})}}", f"{{{run.replace(' ', ',')}}}", f"--exec={run}", f"-o ProxyCommand={run}",
        f"!{run}", f"#!/bin/sh\n{run}", f"\n#SBATCH --wrap={run}", f"--wrap={run}", "--help", "-rf", "--", "-",
        "@/etc/passwd", "$HOME", "${PATH}", "%PATH%", "~root", "*", "?", "[a-z]*", "!!", ">/dev/null", "2>&1", "<&0",
    ]  # fmt: skip


def _code(canary: str) -> list[str]:
    """For Python, YAML, Jinja, format strings and loggers."""
    call = f"__import__('pathlib').Path({canary!r}).touch()"
    return [
        call, f"{{{{ {call} }}}}", f"!!python/object/apply:os.system ['touch {canary}']",
        f"!!python/object/new:os.system [touch {canary}]", f"!!python/name:os.system {canary}",
        f"!<tag:x,2000:a> {canary}", f"{{{{ cycler.__init__.__globals__.os.popen('touch {canary}').read() }}}}",
        f"{{{{ self.__init__.__globals__.__builtins__.open({canary!r}, 'w') }}}}",
        "{% for x in range(10**9) %}{% endfor %}", f"{{% include {canary!r} %}}", "{{ 'x' * 10**10 }}",
        f"eval({call!r})", f"lambda: {call}", f"f'{{{call}}}'", "{0.__class__.__mro__}", "{}", "{x}", "%(x)s",
        "%s%s%s%n", "%1000000000d", "${jndi:ldap://127.0.0.1:1/a}", "&a [*a]", "*a", "<<: {a: 1}",
        "&a [&b [*a, *a], *b]", "? a\n: b", "a: b: c", "- a\n- b", "---\nname: x", "...", "\ttab", "# comment",
        "|\n block", ">-\n folded", "'", '"', "\\", "\\\\", '"}', "]}", "csp>b", "torch.load",
    ]  # fmt: skip


def _paths(secret: str, canary: str) -> list[str]:
    """For anything that opens files."""
    return [
        secret, f"../../../../../../../..{secret}", f"..{secret}", f"/proc/self/root{secret}", f"//{secret}",
        f"{secret}/../{Path(secret).name}", f"{secret}%00.jsonl", f"{secret}\0.jsonl", secret.replace("/", "\\"),
        secret.replace("/", "%2f"), secret.replace("/", "..%c0%af"), f"C:{secret}", f"\\\\?\\{secret}", canary,
        "/etc/passwd", "/proc/self/environ", "/proc/self/cmdline", "/dev/zero", "/dev/stdin", "/dev/fd/3",
        "/dev/tcp/a/1", ".", "..", "/", "./", "../", "~", "~/.ssh/id_rsa", "CON", "NUL", "a/b", "a\\b", "a:b",
        ".git/config", "service.db", "../service.db", "../token", "token", "files/../token", "jobs/../token",
        "writer.lock", "service.lock",
    ]  # fmt: skip


def _addresses(url: str) -> list[str]:
    """For anything that asks servers."""
    return [
        f"{url}/model", f"hf://{url}", f"s3://{url[7:]}", f"{url}@huggingface.co/x", f"user/model?x={url}",
        f"git+{url}/x", f"user/model@{url}", "user/../model", "user/model/extra", "http://[::1]:1/",
        "http://localhost:1/", "ldap://127.0.0.1:1",
    ]  # fmt: skip


def _queries() -> list[str]:
    """For databases and JSON paths."""
    return [
        "' OR '1'='1", "'; DROP TABLE jobs; --", '"; DROP TABLE jobs; --', "1); DELETE FROM files; --",
        "' UNION SELECT 1 --", "x' AND randomblob(1000000000) --", "%' LIKE '%", "$.a", "$[*]", "a.b[0]", "__proto__",
        "constructor", "'||'a", "?1", ":name", "ATTACH DATABASE '/tmp/canary.db' AS a",
    ]  # fmt: skip


def _odd_texts() -> list[str]:
    """For terminals, headers, logs and everything that counts characters."""
    return [
        "", " ", "\0", "\x01\x02\x1f\x7f", "\x1b[2J\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "\b\b\b", "a\rb",
        "a\nb", "a\r\nset-cookie: a=b", "a\r\n\r\n<html>", "data: x\n\nid: 9\ndata: y", "event: error\ndata: x",
        "\u202egpj.exe", "\u200b\u200d\ufeff", "\u2028\u2029", "e\u0301" * 50, "\U0001f4a5" * 30, "\ufffd\uffff", "Ａ",
        "İı", "ß", "ﷺ" * 40, "\u0661\u0662", "模型", "a" * 65, "a" * 201, "a" * 513, "a" * 5000, "é" * 300, "." * 300,
        "/" * 300, "-" * 300,
    ]  # fmt: skip


def _other_types() -> list[str]:
    """Texts that are something else for a parser that guesses."""
    return [
        "null", "true", "no", "on", "~1", "0", "-0", "-1", "1e999", "NaN", "inf", "-inf", "0x10", "0o7", "1_000", "01",
        "1:30", "2001-01-01", "[]", "[1]", "{a: 1}", "{}x", "None", "undefined", "auto", "9" * 400, "1.5.2", "+1",
        "0.1", "1,5", "١", "ft:tiny::", "ft:tiny:::ckpt-step-1", "file-" + "0" * 24, "ftjob-" + "0" * 24, "ftevent-1",
        "ftevent-99999999999999999999",
    ]  # fmt: skip
