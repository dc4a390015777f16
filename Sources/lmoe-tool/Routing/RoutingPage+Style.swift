extension RoutingPage {
  /// How the page looks.
  static let style = HTMLPage.style + ownStyle + panelStyle + narrowStyle

  private static let ownStyle = """
    .ribbon{position:relative;margin:3.25rem 0 0;height:3.5rem;background:var(--cell)}
    .ribbon svg{display:block;width:100%;height:100%}
    .ribbon path{fill:rgb(var(--c));shape-rendering:crispEdges}
    .ribbon b{position:absolute;top:-1.5rem;bottom:-.25rem;border-left:1px solid var(--ink);font:inherit;\
    font-size:.8125rem;color:var(--soft);line-height:1.25rem}
    .ribbon b::before{content:"prompt";position:absolute;right:.5rem}
    .ribbon b::after{content:"generated";position:absolute;left:.5rem}
    .ribbon .early::before,.ribbon .late::after{content:none}
    .lit .ribbon path:not(.on){opacity:.2}
    #cursor{position:absolute;top:-.25rem;bottom:-.25rem;min-width:4px;border:1px solid var(--ink);\
    background:rgb(127 127 127/.25)}

    .legend span,.undecided{color:var(--soft);font-variant-numeric:tabular-nums}
    .legend button[aria-pressed=true] bdi{font-weight:600}
    .lit .legend button[aria-pressed=false]{opacity:.45}

    main{display:grid;grid-template-columns:minmax(0,1fr) 22rem;gap:3.5rem;margin-top:3rem}
    #tokens{font:1rem/2 var(--mono);white-space:pre-wrap;overflow-wrap:anywhere;tab-size:4}
    #tokens>span{--a:0;background:rgb(var(--c,0 0 0)/calc(var(--a)*var(--tint)));cursor:default;\
    padding:.2em 0;-webkit-box-decoration-break:clone;box-decoration-break:clone}
    #tokens>[class*=k]{text-decoration:underline var(--u) 2px rgb(var(--c)/calc(.3 + .7*var(--a)));\
    text-underline-offset:.3em;text-decoration-skip-ink:none}
    #tokens>.n{background:repeating-linear-gradient(135deg,\
    rgb(var(--c)/calc(.2 + var(--a)*var(--tint))) 0 2px,transparent 2px 5px)}
    #tokens>.p{color:var(--prompt)}
    #tokens>.g{box-shadow:-2px 0 0 var(--ink)}
    #tokens>.at,#tokens>span:focus-visible{outline:2px solid var(--ink);outline-offset:0;position:relative}
    #tokens i{font-style:normal;color:var(--soft)}
    .nl::before{content:"↵";opacity:.6}
    .tab::before{content:"⇥";opacity:.6}
    .empty::before{content:"·"}
    .odd{border:1px solid var(--line);font-size:.8em}

    """

  private static let panelStyle = """
    aside{position:sticky;top:2rem;align-self:start;max-height:calc(100vh - 4rem);overflow:auto;\
    background:var(--paper);font-size:.875rem}
    .head{position:relative;min-height:4.25rem;padding-right:2rem}
    h2{margin:0;font-size:1rem;font-weight:600;white-space:pre-wrap;overflow-wrap:anywhere}
    h2 code{font:1rem/1.4 var(--mono);background:var(--cell);padding:.1em .3em}
    #where{margin:.25rem 0 0;color:var(--soft)}
    #close{display:none;position:absolute;top:-.5rem;right:-.5rem;padding:0 .75rem;font-size:1.5rem;\
    line-height:2.25rem}
    .experts{display:grid;grid-template-columns:minmax(3rem,auto) minmax(0,1fr) auto;gap:0 .75rem;--h:.875rem;\
    align-items:center}
    .name{grid-column:1;max-width:9rem;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
    .name .swatch{width:.75rem;height:.75rem;vertical-align:-.05rem;border-bottom-width:2px}
    .bar{grid-column:2;position:relative;height:.5rem;background:var(--cell)}
    .bar i{--w:0;position:absolute;top:0;bottom:0;left:0;width:calc(var(--w)*100%);background:rgb(var(--c))}
    .bar s{position:absolute;top:-3px;bottom:-3px;left:0;width:2px;background:var(--ink);display:none}
    .signed .bar::after{content:"";position:absolute;left:50%;top:-2px;bottom:-2px;border-left:1px solid var(--soft)}
    .signed .bar i{left:50%;width:calc(var(--w)*50%)}
    .signed .bar .n{left:auto;right:50%}
    .n{--hatch:repeating-linear-gradient(135deg,transparent 0 2px,var(--paper) 2px 4px)}
    .bar .n{background:var(--hatch),rgb(var(--c))}
    output{grid-column:3;text-align:right;min-width:2.6em;font-variant-numeric:tabular-nums}
    .rows{grid-column:1;display:grid;grid-auto-rows:var(--h);gap:1px;margin:.25rem 0 1rem;text-align:right;color:var(--soft);\
    font-size:.625rem;line-height:var(--h);overflow:hidden}
    .heat{display:grid;grid-auto-rows:var(--h);gap:1px;margin:.25rem 0 1rem;\
    grid-column:2;grid-template-columns:repeat(var(--layers),minmax(0,1fr))}
    .fine .heat{column-gap:0}
    .heat i{--a:0;background:linear-gradient(rgb(var(--c)/var(--a)) 0 0) var(--cell)}
    .heat .n{background:var(--hatch),linear-gradient(rgb(var(--c)/var(--a)) 0 0) var(--cell)}
    .heat .x{background:none}
    .heat .o{grid-column:1/-1}
    .experts.modules{--h:.625rem}
    .many .experts.modules{--h:.25rem}
    .many .modules .heat{row-gap:0;margin-bottom:.5rem}
    .many .rows{display:none}
    .many .heat{margin-top:.125rem;margin-bottom:.625rem}
    .top bdi{text-shadow:.03em 0 currentColor}
    .axis{display:contents;color:var(--soft);font-size:.75rem}
    .axis b{grid-column:1;font-weight:400;text-align:right}
    .axis div{position:relative;height:1.25rem;grid-column:2}
    .axis span{position:absolute;transform:translateX(-50%)}
    .caption{margin:1rem 0 0;color:var(--soft);font-size:.8125rem;min-height:1.5em}

    """

  private static let narrowStyle = """
    @media (max-width:60rem){
    body{padding:1.75rem 1.25rem 3rem}
    main{grid-template-columns:minmax(0,1fr);gap:2.5rem;margin-top:2rem}
    h1{font-size:1.5rem}
    dl{flex-direction:column;gap:.125rem}
    dl div{display:flex;gap:.75rem}
    dt{flex:none;width:5.5rem;font-size:inherit}
    .ribbon{margin-top:2.75rem;height:2.5rem}
    .legend{gap:.5rem 1.25rem}
    aside{position:static;max-height:none;overflow:visible}
    .open aside{position:fixed;left:0;right:0;bottom:0;top:auto;max-height:60vh;overflow:auto;\
    padding:1rem 1.25rem 1.25rem;border-top:1px solid var(--line)}
    .open #close{display:block}
    .open{scroll-padding-bottom:62vh}
    .open body{padding-bottom:62vh}
    }
    @media print{
    body{max-width:none;padding:0}
    main{display:block}
    aside{position:static;max-height:none;margin-top:2rem;break-inside:avoid;max-width:30rem}
    #close,#cursor{display:none}
    }

    """
}
