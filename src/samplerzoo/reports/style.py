"""How the page looks: one style sheet, light and dark, from a phone to a desk."""

_COLOURS = """
:root{color-scheme:light dark;--page:#fff;--ink:#1a1d21;--soft:#59616b;--line:#d8dde3;
--faint:#f4f6f8;--s0:#0b62c4;--s1:#c2410c;--s2:#0f766e;--s3:#9333ea;--s4:#a16207;--s5:#be185d;
--grey:#7b848e;--more:200,60,0;--less:10,90,200}
@media(prefers-color-scheme:dark){:root{--page:#111417;--ink:#e8eaed;--soft:#a3abb5;--line:#343b43;
--faint:#1a1f24;--s0:#6cb0ff;--s1:#ff9a62;--s2:#4fd1c1;--s3:#c99bff;--s4:#e3b341;--s5:#ff8fc0;
--grey:#8d96a0;--more:255,120,50;--less:80,150,255}}
"""

_TEXT = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue","Liberation Sans",Arial,sans-serif;overflow-wrap:anywhere}
main{max-width:1120px;margin:0 auto;padding:24px 24px 64px}
h1,h2,h3,p,ul,figure,pre{margin:0}
h1{font-size:clamp(26px,4.2vw,38px);line-height:1.15;letter-spacing:-.02em;margin:4px 0 12px;
text-wrap:balance}
h2{font-size:22px;line-height:1.25;letter-spacing:-.01em;margin:0 0 8px}
h3{font-size:16px;margin:24px 0 8px}
section{margin-top:40px;padding-top:24px;border-top:1px solid var(--line)}
section>p,ul{max-width:72ch}
section>p{margin-bottom:12px}.scroll+p{margin-top:12px}
.question,.note,figcaption,caption,.legend{color:var(--soft)}
.question{font-size:15px}
.lead{font-size:17px;max-width:78ch;margin-bottom:14px}
.note{font-size:14px;margin-top:8px}
ul{padding-left:20px}li{margin:4px 0}
nav{margin-top:8px;font-size:14px}nav a{margin-right:14px;white-space:nowrap}
a{color:var(--s0)}
code,pre{font:13px/1.6 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
pre{padding:12px 14px;background:var(--faint);border-radius:6px;width:max-content;min-width:100%}
.hidden{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
"""

_TABLES = """
.scroll{overflow-x:auto;max-width:100%;overflow-wrap:normal;position:relative}
.scroll:focus-visible{outline:2px solid var(--s0);outline-offset:2px}
.scroll+.scroll{margin-top:20px}
table{border-collapse:separate;border-spacing:0;font-size:14px;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:0 0 6px;font-size:14px}
caption b{color:var(--ink)}
th,td{padding:5px 12px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line);
font-weight:400}
thead th{color:var(--soft);font-size:13px;vertical-align:bottom}
tbody th,td.sampler,th:first-child,.words td{text-align:left}
tbody th:first-child,thead tr:first-child th:first-child{position:sticky;left:0;
background:var(--page);padding-left:0}
th[scope=rowgroup]{font-weight:600;padding-top:14px}
th[scope=colgroup]{text-align:left;color:var(--ink);font-weight:600;font-size:14px}
td.best{font-weight:700}
th.sampler{text-align:left}
.answer .sampler:nth-child(n+3),.answer th[scope=colgroup]:nth-child(n+3){padding-left:28px}
.answer{font-size:15px}
.answer td,.answer th{padding:6px 10px}
.answer tbody th{font-weight:600}
.words td{white-space:normal;min-width:240px}
.numbers{font-size:12px}.numbers th,.numbers td{padding:3px 7px}
.reach td{min-width:44px;padding:3px 5px}
details[open]{margin-bottom:16px}summary{cursor:pointer;padding:3px 0}
.pair{display:flex;flex-wrap:wrap;gap:20px 56px}.pair>.scroll{margin:0}
.scroll+.pair{margin-top:12px}
"""

_SHADES = "".join(
    f".{sign}{n}{{background:rgba(var(--{colour}),{opacity})}}"
    for sign, colour in (("p", "more"), ("m", "less"))
    for n, opacity in enumerate((0.08, 0.16, 0.26, 0.38, 0.5), 1)
)

_PICTURES = """
img{display:block;image-rendering:pixelated;max-width:none}
.strips{display:grid;gap:6px;width:max-content}
.strip{display:grid;grid-template-columns:168px max-content;align-items:center}
.label{position:sticky;left:0;padding-right:12px;background:var(--page);line-height:1.25;
overflow-wrap:anywhere}
.label b{display:block;font-weight:500}.label span{font-size:13px;color:var(--soft)}
.panels{display:grid;gap:24px 28px;
grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr))}
figure{min-width:0}
figcaption{font-size:14px;margin-bottom:4px}
figcaption b{color:var(--ink)}
figure+figure{margin-top:16px}.panels figure{margin:0}.panels+.scroll{margin-top:24px}
.chart{display:block;width:100%;max-width:460px;height:auto;overflow:visible}
.chart.wide{width:736px;max-width:none}
.chart text{font-size:12px;fill:var(--soft)}
.chart text.name{font-weight:500}
.grid{stroke:var(--line);stroke-width:1}.zero{stroke:var(--grey);stroke-width:1}
.line{fill:none;stroke-width:2;stroke-linejoin:round}.bar{stroke-width:2}.tick{stroke-width:2}
.dot.data{fill:var(--grey);opacity:.35}.dot.drawn{fill:var(--s0);opacity:.7}
.legend{font-size:14px}.legend>span{display:inline-flex;align-items:center;gap:6px;margin-right:16px}
.key{padding:1px 8px;border-radius:3px;color:var(--ink)}
@media(max-width:640px){main{padding:16px 16px 48px}.lead{font-size:16px}section{margin-top:28px}
.strip{grid-template-columns:max-content;gap:3px}.strips{gap:12px}.label{width:max-content}
.label b,.label span{display:inline;margin-right:8px}.answer td,.answer th{padding:6px 7px}
.answer{font-size:14px}}
@media print{details:not([open]){display:none}.scroll{overflow:visible}}
"""

_SEARCHED = "".join(
    f".s{n}{{stroke:var(--s{n})}}.dot.s{n}{{fill:var(--s{n})}}"
    f"th.s{n},b.s{n}{{color:var(--s{n});font-weight:700}}"
    f".chart text.s{n}{{fill:var(--s{n});stroke:none;font-weight:700}}"
    for n in range(6)
)
_OTHERS = ".b0,.b1,.b2,.b3{stroke:var(--grey)}.dot[class*=' b']{fill:var(--grey)}" + (
    ".chart text[class*=' b']{fill:var(--soft);stroke:none}"
    ".line.b1{stroke-dasharray:6 3}.line.b2{stroke-dasharray:2 3}.line.b3{stroke-dasharray:8 3 2 3}"
)

SHEET = "".join((_COLOURS, _TEXT, _TABLES, _SHADES, _PICTURES, _SEARCHED, _OTHERS)).replace(
    "\n", ""
)
