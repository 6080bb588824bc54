/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one style of the page for people. The page's policy names it by its
 * hash: tests/system/page_test.py compares them, and says the new one.
 */
#ifndef PAGE_STYLE_H
#define PAGE_STYLE_H

#define PAGE_STYLE_SHA256	"nwgcACIpaS4pPnqh+oNP+kgbZDllHjLue/RGT5neMig="

#define PAGE_STYLE \
	":root{color-scheme:light dark;--page:#f4f5f2;--card:#fff;--ink:#1c2521;--soft:#56625b;--line:#dde1db;" \
	    "--field:#fbfcfa;--good:#1b7a4b;--bad:#b23a26;--warn:#96650a;--rest:#8a958e;--link:#1d5c9c}" \
	"@media(prefers-color-scheme:dark){:root{--page:#111513;--card:#191f1c;--ink:#e4eae6;--soft:#9daba3;" \
	    "--line:#2c3530;--field:#141917;--good:#4fc58c;--bad:#f28570;--warn:#e0ae4e;--rest:#75837b;--link:#86b8f2}}" \
	"*{box-sizing:border-box}" \
	"body{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,sans-serif;" \
	    "font-variant-numeric:tabular-nums}" \
	"header,main,footer{max-width:1140px;margin:0 auto;padding:0 20px}" \
	"header{display:flex;flex-wrap:wrap;gap:4px 20px;align-items:baseline;padding-top:18px;padding-bottom:12px}" \
	"h1{font-size:20px;margin:0;letter-spacing:-.01em}h2{font-size:15px;margin:0 0 10px}" \
	"header p{margin:0;color:var(--soft)}header a{margin-left:auto}" \
	"a{color:var(--link)}" \
	"main{display:grid;grid-template-columns:repeat(12,minmax(0,1fr));gap:12px}" \
	"section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 18px;grid-column:span 12;" \
	    "min-width:0;overflow-x:auto}" \
	".half{grid-column:span 6}.third{grid-column:span 4}.rest{grid-column:span 8}.tile{grid-column:span 3}" \
	".tile h2{font-size:13px;font-weight:500;color:var(--soft);margin:0}" \
	".tile p{margin:0;color:var(--soft);font-size:13px}.tile .big{font-size:24px;line-height:1.3;color:var(--ink);" \
	    "font-weight:600;letter-spacing:-.01em}" \
	".health{border-left:6px solid;border-left-color:var(--state);--state:var(--good)}" \
	".ailing{--state:var(--warn)}.refusing{--state:var(--bad)}" \
	".health h2{font-size:20px;margin:0 14px 0 0;color:var(--state);display:inline}.health p{display:inline}" \
	".health ul{margin:8px 0 0;padding-left:20px}.health li{margin:4px 0}" \
	".soft{color:var(--soft)}" \
	"code,pre{font:13px/1.5 ui-monospace,monospace;overflow-wrap:anywhere}" \
	"pre{margin:4px 0 0;padding:8px 12px;background:var(--field);border:1px solid var(--line);border-radius:6px;" \
	    "white-space:pre-wrap}" \
	"form{display:grid;grid-template-columns:5fr 2fr 2fr 4fr auto;gap:10px;align-items:end}" \
	"label{display:block;font-size:13px;color:var(--soft)}" \
	"input,button{width:100%;font:inherit;font-size:15px;color:var(--ink);margin-top:2px;padding:7px 10px;border:1px solid var(--rest);" \
	    "border-radius:6px;background:var(--field)}" \
	"input::placeholder{color:var(--soft);opacity:1}" \
	"button{background:var(--link);border-color:var(--link);color:var(--card);font-weight:600;padding:7px 18px;" \
	    "cursor:pointer}" \
	":focus-visible{outline:3px solid var(--link);outline-offset:2px}" \
	".answer{margin-top:14px;border-top:1px solid var(--line);padding-top:12px}" \
	".answer>p{margin:0 0 8px;font-size:17px;overflow-wrap:anywhere}.answer ul{margin:0;padding:0;list-style:none}" \
	".good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}" \
	"dl{margin:0;display:grid;grid-template-columns:minmax(90px,auto) minmax(0,1fr);gap:4px 16px}" \
	"dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}" \
	"table{border-collapse:collapse;width:100%}caption{text-align:left;color:var(--soft);font-size:13px;padding:0 0 4px}" \
	"th,td{text-align:right;padding:3px 0 3px 14px;white-space:nowrap;border-top:1px solid var(--line);font-weight:400}" \
	"th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal}thead th{color:var(--soft);font-size:13px;border-top:0}" \
	"tfoot th,tfoot td{font-weight:600}" \
	".reasons td:nth-child(2){width:34%}.refused th code{overflow-wrap:anywhere}th small{display:block;color:var(--soft);font-size:13px}" \
	"svg{display:block;width:100%}.strip{height:18px;margin:0 0 10px;border-radius:4px}.bar{height:12px}" \
	".fg{fill:var(--good)}.fb{fill:var(--bad)}.fr{fill:var(--rest)}.fl{fill:var(--link)}.track{fill:var(--line)}" \
	".key{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:8px}" \
	".kg{background:var(--good)}.kb{background:var(--bad)}.kr{background:var(--rest)}" \
	".hint{margin:8px 0 0;color:var(--soft);font-size:13px}h3{font-size:13px;font-weight:500;color:var(--soft);margin:12px 0 0}" \
	".unseen{position:absolute;clip-path:inset(50%);height:1px;overflow:hidden}" \
	"svg text{fill:var(--soft);font-size:12px}.axis{stroke:var(--line)}" \
	"details{margin-top:8px}summary{color:var(--link);cursor:pointer}" \
	"footer{color:var(--soft);font-size:13px;padding-top:14px;padding-bottom:24px}" \
	"@media(max-width:900px){.third,.rest{grid-column:span 12}}" \
	"@media(max-width:760px){.half{grid-column:span 12}.tile{grid-column:span 6}form{grid-template-columns:1fr 1fr}" \
	    "form .wide,form button{grid-column:span 2}header,main,footer{padding-left:12px;padding-right:12px}" \
	    "section{padding:12px 14px}main{gap:10px}.tile .big{font-size:18px}" \
	    "th,td{padding-left:8px}input{font-size:16px}svg text{font-size:17px}" \
	    ".refused tr{display:grid;grid-template-columns:minmax(0,1fr) 6.8em 5em;align-items:end}" \
	    ".refused th:first-child{grid-column:1/-1}.refused td{border-top:0}.refused th,.refused td{white-space:normal}" \
	    ".refused tr>:nth-child(2){text-align:left;padding-left:0}}"

#endif
