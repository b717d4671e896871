// The style sheet of the report's page. The page allows this sheet by its digest and no other style.
#pragma once

#include <string_view>

namespace quench::coordinator {

inline constexpr std::string_view kPageStyle = R"(
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57616c; --line: #d5dbe1; --ground: #ffffff; --panel: #f4f6f8;
  --mark: #0b6bcb; --base: #b3541e; --won: #17713f; --lost: #b3261e; --hint: #fff2b3;
  --s0: #0b6bcb; --s1: #b3541e; --s2: #17713f; --s3: #8a3ab9; --s4: #8a6d00; --s5: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #a3adb8; --line: #343c45; --ground: #14181c;
  --panel: #1d2329; --mark: #6cb2ff; --base: #f0a06a; --won: #62c98d; --lost: #ff8a80; --hint: #4a4210;
  --s0: #6cb2ff; --s1: #f0a06a; --s2: #62c98d; --s3: #cf9bf0; --s4: #d9bd4a; --s5: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1.5rem 1rem 4rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; } h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
h4 { font-size: .95rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .25rem 0 .75rem; } .lead, .note { color: var(--soft); } .note { font-size: .85rem; max-width: 60rem; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .75rem 0 1.5rem; font-size: .9rem; } a { color: var(--mark); }
.scroll { overflow-x: auto; margin-bottom: .5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; font-size: .88rem; }
th, td { padding: .3rem .5rem; text-align: right; border-bottom: 1px solid var(--line); } .words { text-align: left; }
thead th { color: var(--soft); font-weight: 600; } tbody th { font-weight: 600; }
tbody th:first-child { position: sticky; left: 0; background: var(--ground); max-width: 12rem; overflow: hidden; text-overflow: ellipsis; }
code { font-size: .9em; overflow-wrap: anywhere; }
svg { width: 100%; min-width: 34rem; max-width: 60rem; height: auto; display: block; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .grid line { stroke: var(--line); } svg .grid text, svg .axis { fill: var(--soft); }
svg .point line { stroke: var(--mark); stroke-width: 2; opacity: .5; } svg .point circle { fill: var(--mark); }
svg .point text { paint-order: stroke; stroke: var(--ground); stroke-width: 4px; stroke-linejoin: round; }
svg .baseline line { stroke: var(--base); } svg .baseline circle { fill: var(--base); }
svg .front { fill: none; stroke: var(--soft); stroke-dasharray: 4 4; }
svg .won { fill: var(--won); } svg .lost { fill: var(--lost); }
svg .series polyline, svg .series line { fill: none; stroke-width: 1.75; }
svg .series-0 polyline, svg .series-0 line { stroke: var(--s0); } svg .series-1 polyline, svg .series-1 line { stroke: var(--s1); stroke-dasharray: 7 3; }
svg .series-2 polyline, svg .series-2 line { stroke: var(--s2); stroke-dasharray: 2 2; } svg .series-3 polyline, svg .series-3 line { stroke: var(--s3); stroke-dasharray: 9 3 2 3; }
svg .series-4 polyline, svg .series-4 line { stroke: var(--s4); stroke-dasharray: 4 4; } svg .series-5 polyline, svg .series-5 line { stroke: var(--s5); stroke-dasharray: 1 3; }
summary { cursor: pointer; overflow-wrap: anywhere; } details { margin: .35rem 0; } details details { margin-left: 1rem; }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 2px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1rem; margin: .5rem 0 1rem; }
.pair section { min-width: 0; } pre { overflow: auto; max-height: 28rem; margin: 0; padding: .6rem; background: var(--panel); border: 1px solid var(--line);
  border-radius: 4px; font: 12.5px/1.45 ui-monospace, monospace; tab-size: 4; unicode-bidi: isolate; } pre.detail { margin-top: .5rem; color: var(--soft); white-space: pre-wrap; overflow-wrap: anywhere; }
mark { background: var(--hint); color: inherit; } .verdict { font-weight: 600; } .pass { color: var(--won); } .fail { color: var(--lost); }
@media (max-width: 30rem) { body { padding: 1rem .75rem 3rem; } th, td { padding: .3rem .45rem; } details details { margin-left: 0; } }
@media print { details { break-inside: avoid; } .scroll { overflow: visible; } }
)";

}  // namespace quench::coordinator
