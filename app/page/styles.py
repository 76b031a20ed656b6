"""How the page looks, and its one shortcut. No font, script or picture comes from elsewhere."""

HEADS = "Iowan Old Style, Palatino Linotype, Palatino, P052, Georgia, serif"
LONGEST_SENTENCE = 40  # words that can be shown over a picture

# Gradio's own components in our colours, which differ between light and dark by themselves
COLOURS = {
    "body_background_fill": "var(--sb-paper)",
    "body_text_color": "var(--sb-ink)",
    "body_text_color_subdued": "var(--sb-soft)",
    "background_fill_primary": "var(--sb-card)",
    "background_fill_secondary": "var(--sb-paper)",
    "border_color_primary": "var(--sb-line)",
    "border_color_accent": "var(--sb-accent)",
    "color_accent_soft": "var(--sb-mark)",
    "block_background_fill": "var(--sb-card)",
    "block_border_color": "var(--sb-line)",
    "block_label_text_color": "var(--sb-soft)",
    "block_title_text_color": "var(--sb-soft)",
    "input_background_fill": "var(--sb-card)",
    "input_border_color": "var(--sb-line)",
    "input_border_color_focus": "var(--sb-accent)",
    "input_placeholder_color": "var(--sb-soft)",
    "button_border_width": "1px",
    "checkbox_background_color_selected": "var(--sb-accent)",
    "checkbox_border_color_selected": "var(--sb-accent)",
    "slider_color": "var(--sb-accent)",
    "button_primary_background_fill": "var(--sb-accent)",
    "button_primary_background_fill_hover": "var(--sb-accent)",
    "button_primary_border_color": "var(--sb-accent)",
    "button_primary_text_color": "var(--sb-on)",
    "button_secondary_background_fill": "var(--sb-card)",
    "button_secondary_background_fill_hover": "var(--sb-mark)",
    "button_secondary_border_color": "var(--sb-line)",
    "button_secondary_text_color": "var(--sb-ink)",
}


def _views() -> str:
    """What is over the pictures follows the radio button chosen, without a word to the server."""
    keys = [f"word{i}" for i in range(LONGEST_SENTENCE)] + [f"stage{i}" for i in range(4)]
    rules = [f".sb-birds:has(.sb-pick-{key}:checked) .sb-{key}{{opacity:1}}" for key in keys]
    grey = ",".join(
        f".sb-birds:has(.sb-pick-word{i}:checked) img:not(.sb-over)" for i in range(LONGEST_SENTENCE)
    )
    return "".join(rules) + f"{grey}{{filter:grayscale(1) brightness(.6)}}"


# Gradio puts its own class before every selector inside @media, where .gradio-container would then match nothing
CSS = (
    """
:root{--sb-paper:#fbfaf7;--sb-card:#fff;--sb-ink:#22262b;--sb-soft:#5f6670;--sb-line:#dcd8ce;--sb-accent:#a83a1b;
--sb-on:#fff;--sb-mark:#fbe3c8;--sb-heads:HEADS}
.dark{--sb-paper:#16181b;--sb-card:#1f2226;--sb-ink:#ece9e2;--sb-soft:#a6adb6;--sb-line:#383d44;--sb-accent:#f3936b;
--sb-on:#1a1210;--sb-mark:#5a3a1e}
body,gradio-app,.gradio-container{background:var(--sb-paper)!important;color:var(--sb-ink)}
.gradio-container{max-width:1080px!important;margin:0 auto!important;padding:0 clamp(14px,4vw,48px) 40px!important}
.gradio-container .main{padding-left:0!important;padding-right:0!important}
.gradio-container :focus-visible{outline:3px solid var(--sb-accent)!important;outline-offset:2px!important}
footer{display:none!important}
.sb-head{padding:30px 0 6px}
.sb-head h1{font:600 40px/1.1 var(--sb-heads);margin:0;letter-spacing:-.01em;color:var(--sb-ink)}
.sb-head p{text-wrap:balance;color:var(--sb-soft);margin:6px 0 0;font-size:16px}
#sb-tabs .tab-container button{font-size:17px;padding:8px 18px;color:var(--sb-soft)}
#sb-tabs .tab-container button.selected{color:var(--sb-accent)}
#sb-tabs .tab-container button.selected::after{background:var(--sb-accent)}
.sb-row{align-items:center;gap:8px!important;flex-wrap:wrap}
.sb-row>*{flex:0 0 auto!important;min-width:0!important;width:auto!important}
.sb-row button,button.sb-small{border:1px solid var(--sb-line)!important;border-radius:18px!important;
font-weight:400!important;font-size:15px!important;padding:7px 14px!important;min-width:0!important}
#sb-paint{flex:2}#sb-paint,#sb-seek{font-size:17px;min-height:48px}
#sb-panel textarea{font-size:18px}
.sb-talk{display:flex;align-items:center;gap:16px;padding:14px 0 4px}
.sb-talk kbd{color:var(--sb-soft);font:14px system-ui,sans-serif;border:1px solid var(--sb-line);
border-radius:6px;padding:3px 9px;background:var(--sb-card)}
.sb-record{display:flex;align-items:center;justify-content:center;gap:12px;font:600 21px system-ui,sans-serif;
height:76px;min-width:230px;border-radius:38px;border:0;padding:0 36px;background:var(--sb-accent);color:var(--sb-on);
cursor:pointer;
box-shadow:0 0 0 calc(var(--level,0)*22px) color-mix(in srgb,var(--sb-accent) 28%,transparent);
transition:box-shadow .1s}
.sb-record *{color:var(--sb-on)!important}
.sb-mic{border:0!important;background:none!important;box-shadow:none!important;overflow:visible!important}
.gradio-container .html-container{padding:0!important}
#sb-transcript .error,#sb-transcript .clear-status,#sb-birds .error,#sb-birds .clear-status,#sb-found .error,
#sb-found .clear-status{display:none!important}
.sb-record i{width:18px;height:18px;border-radius:9px;background:var(--sb-on)}
.sb-record[aria-pressed=true] i{border-radius:3px}
.sb-talking #sb-transcript,.gradio-container:has(#sb-mic .sb-live p) #sb-transcript{display:none}
.sb-heard{font:400 26px/1.45 var(--sb-heads);margin:10px 0;color:var(--sb-ink)}
.sb-soft{color:var(--sb-soft)}
.sb-word{margin-right:.1em;white-space:nowrap}
.sb-word small{font:500 11px/1 system-ui,sans-serif;color:var(--sb-soft);vertical-align:super;margin-left:2px}
.sb-doubt{border-bottom:3px dotted var(--sb-accent)}
.sb-note{color:var(--sb-soft);font-size:15px;margin:6px 0}
.sb-label{color:var(--sb-soft);font-size:13px;margin:8px 0 4px}
.sb-chips{display:flex;flex-wrap:wrap;gap:8px;margin:6px 0}
.sb-chip{border:1px solid var(--sb-line);background:var(--sb-card);color:var(--sb-ink);border-radius:18px;
padding:7px 14px;font:inherit;font-size:15px;cursor:pointer;text-align:left}
.sb-chips .sb-chip{margin:0}
.sb-chip:hover{border-color:var(--sb-accent)}
.sb-chip s{color:var(--sb-soft)}
.sb-unknown{display:inline-flex;gap:8px;align-items:center;margin:0 14px 6px 0;flex-wrap:wrap}
.sb-unknown mark{background:var(--sb-mark);color:var(--sb-ink);border-radius:4px;padding:2px 6px}
.sb-birds header,.sb-found header{margin:14px 0 10px}
.sb-birds h2,.sb-found h2{font:500 24px/1.3 var(--sb-heads);margin:0;color:var(--sb-ink);overflow-wrap:anywhere}
.sb-birds header p{color:var(--sb-soft);font-size:14px;margin:2px 0 0}
.sb-link{color:var(--sb-accent)!important;text-decoration:underline;margin-left:8px;font-size:14px}
.sb-views{display:flex;flex-wrap:wrap;gap:6px;align-items:center;margin:0 0 14px}
.sb-views .sb-label{margin:0 2px 0 10px}
.sb-views label{cursor:pointer;position:relative}
.sb-views input{position:absolute;opacity:0;inset:0}
.sb-views label span{display:block;border:1px solid var(--sb-line);border-radius:14px;padding:3px 11px;font-size:14px;
background:var(--sb-card);color:var(--sb-ink)}
.sb-views input:checked+span{background:var(--sb-accent);border-color:var(--sb-accent);color:var(--sb-on)}
.sb-views input:focus-visible+span{outline:3px solid var(--sb-accent);outline-offset:2px}
.sb-grid{display:grid;gap:14px;grid-template-columns:repeat(4,minmax(0,1fr))}
.sb-grid.sb-1{grid-template-columns:minmax(0,420px)}.sb-grid.sb-2{grid-template-columns:repeat(2,minmax(0,320px))}
.sb-grid.sb-3{grid-template-columns:repeat(3,minmax(0,1fr))}
.sb-bird{margin:0}
.sb-bird>div{position:relative;aspect-ratio:1;border-radius:14px;overflow:hidden;background:var(--sb-line)}
.sb-bird img{position:absolute;inset:0;width:100%;height:100%;object-fit:cover;margin:0;border-radius:0}
.sb-over{opacity:0;transition:opacity .15s}
.sb-bird figcaption{font-size:13px;color:var(--sb-soft);padding:5px 2px;display:flex;justify-content:space-between}
.sb-waiting>div{animation:sb-wait 1.2s ease-in-out infinite alternate}
@keyframes sb-wait{to{opacity:.45}}
.sb-found ol{list-style:none;padding:0;margin:0;display:grid;gap:18px;
grid-template-columns:repeat(auto-fill,minmax(190px,1fr))}
.sb-found li{margin:0}
.sb-found li div{aspect-ratio:1;border-radius:14px;overflow:hidden;background:var(--sb-line)}
.sb-found img{width:100%;height:100%;object-fit:cover;margin:0;border-radius:0}
.sb-found p{display:block!important;margin:4px 0;font-size:15px;color:var(--sb-ink)}
.sb-found p.sb-source,.sb-score{color:var(--sb-soft);font-size:13px;overflow-wrap:anywhere}
.sb-scroll{overflow-x:auto;contain:inline-size;border-radius:12px;scroll-snap-type:x proximity}
#sb-find{border-radius:24px!important;min-height:48px;font-size:17px!important;font-weight:600!important;
padding:7px 40px!important;border-color:var(--sb-accent)!important}
#sb-mic-find,#sb-mic-find .html-container,#sb-mic-find .prose{display:contents}
#sb-mic-find .sb-talk{padding:0}
#sb-mic-find .sb-talk kbd{display:none}
#sb-mic-find .sb-record{height:48px;min-width:0;padding:0 24px!important;font-size:17px!important;gap:10px;
border-radius:24px!important;color:var(--sb-ink);background:var(--sb-card)}
#sb-mic-find .sb-record span{color:var(--sb-ink)!important}
#sb-mic-find .sb-record i{width:14px;height:14px;background:var(--sb-accent)}
#sb-mic-find .sb-live{order:9;flex:0 0 100%!important}
#sb-mic-find .sb-live:empty{display:none}
#sb-find-note:not(:has(.prose>*)),#sb-sound:not(:has(.prose>*)),#sb-offers:not(:has(.prose>*)),
#sb-vary:not(:has(.prose>*)),#sb-varied:not(:has(.prose>*)){display:none}
.dark .sb-sound img{filter:brightness(.88)}
.sb-fold{margin:2px 0 8px}
.sb-fold p{color:var(--sb-soft);font-size:15px;margin:2px 0 6px}
.sb-fold summary{cursor:pointer;color:var(--sb-soft);font-size:15px;width:fit-content;padding:4px 0}
.sb-sound img{display:block;width:100%;min-width:680px;height:auto;border-radius:12px;margin:4px 0}
.sb-sound .sb-link{margin-left:0}
.sb-change{margin:6px 0 0}
.sb-change h3{font:500 19px/1.3 var(--sb-heads);color:var(--sb-ink);margin:0 0 2px}
.sb-line{font:400 21px/1.7 var(--sb-heads);color:var(--sb-ink);margin:0;overflow-wrap:anywhere}
.sb-swap{font:inherit;color:inherit;background:none;border:0;border-radius:4px;padding:0 2px;cursor:pointer;
text-decoration:underline dotted var(--sb-accent) 2px;text-underline-offset:4px}
.sb-swap:hover{background:var(--sb-mark)}
.sb-swap[aria-expanded=true]{background:var(--sb-accent);color:var(--sb-on);text-decoration:none}
.sb-chips[hidden]{display:none}
.sb-changed mark{background:var(--sb-mark);color:var(--sb-ink);border-radius:4px;padding:0 4px}
.sb-pairs{display:grid;gap:14px 28px;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));
margin-bottom:10px}
.sb-pair{display:grid;gap:8px;grid-template-columns:repeat(2,minmax(0,1fr))}
#sb-panel:not(:has(.sb-birds)) #sb-walk{display:none}
.sb-strip{display:grid;gap:8px;grid-auto-flow:column;grid-auto-columns:minmax(120px,1fr)}
.sb-strip .sb-bird{scroll-snap-align:start}
.sb-ends{display:flex;justify-content:space-between;gap:24px;color:var(--sb-soft);font-size:14px}
.sb-ends span:last-child{text-align:right}
.sb-kind{font:500 22px/1.3 var(--sb-heads);margin:12px 0 0;color:var(--sb-ink)}
@media (max-width:640px){
#sb-tabs .tab-container button{padding:8px 9px!important;font-size:16px}
.sb-head h1{font-size:30px}
.sb-grid{grid-template-columns:repeat(2,minmax(0,1fr))!important}.sb-heard{font-size:22px}
.sb-found ol{grid-template-columns:repeat(2,minmax(0,1fr))}#sb-mic .sb-record{flex:1}
.sb-talk kbd{display:none}#sb-find{flex:1 0 100%!important}}
@media (prefers-reduced-motion:reduce){.sb-waiting>div{animation:none}.sb-over,.sb-record{transition:none}}
""".replace("HEADS", HEADS)
    + _views()
)

# The space bar talks, and ends, wherever no other control has the focus.
HEAD = """<script>
document.addEventListener("keydown", event => {
  if (event.code !== "Space" || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const at = document.activeElement;
  if (at && at !== document.body && at.closest("input,textarea,select,button,a,[contenteditable],[role]")) return;
  const button = [...document.querySelectorAll(".sb-record")].find(one => one.offsetParent !== null);
  if (button) { event.preventDefault(); button.click(); }
});
</script>"""

# Buttons of our own HTML: what is written on them goes to the function that listens for their click.
BUTTONS = """element.addEventListener("click", event => {
  const button = event.target.closest("button.sb-chip");
  if (button) trigger("click", {...button.dataset});
});"""

# What changes in it is read aloud once nothing else is.
LIVE = 'element.setAttribute("aria-live", "polite");'

# A word of the sentence under the birds shows, and hides, what may be said in its place.
SWAPS = """element.addEventListener("click", event => {
  const word = event.target.closest("button.sb-swap");
  if (!word) return;
  const open = word.getAttribute("aria-expanded") !== "true";
  for (const other of element.querySelectorAll(".sb-swap")) {
    const on = other === word && open;
    other.setAttribute("aria-expanded", on);
    element.querySelector("#" + other.getAttribute("aria-controls")).hidden = !on;
  }
});
"""
