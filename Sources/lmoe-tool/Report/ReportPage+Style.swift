extension ReportPage {
  /// How the page looks.
  static let style = HTMLPage.style + headStyle + chartStyle + routingStyle + tableStyle + narrowStyle

  private static let headStyle = """
    :root{--warn:#c4501b}
    @media (prefers-color-scheme:dark){:root{--warn:#f08a4b}}
    .what{margin:.25rem 0 0;color:var(--soft);overflow-wrap:anywhere}
    .figures{gap:1.5rem 3rem;margin-top:2rem}
    .figures dd{font-size:1.625rem;line-height:1.3;font-weight:600;letter-spacing:-.015em;\
    font-variant-numeric:tabular-nums;white-space:nowrap}
    .figures .detail{font-size:.8125rem;font-weight:400;letter-spacing:0;color:var(--soft);white-space:normal}
    section{margin-top:3.5rem}
    h2{margin:0 0 .75rem;font-size:1.25rem;line-height:1.3;font-weight:600;letter-spacing:-.01em}
    h3{margin:0;font-size:.9375rem;line-height:1.4;font-weight:600}
    h2+h3,table+h3,dl+h3,div+h3,p+h3{margin-top:2rem}
    .lead{margin:-.5rem 0 1.25rem;color:var(--soft);font-size:.875rem;max-width:44rem}

    """

  private static let chartStyle = """
    figure{margin:0}
    .charts{display:grid;gap:2.25rem 2.5rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,17rem),1fr))}
    .chart+.charts,.chart+.chart{margin-top:2.25rem}
    .charts .chart{margin-top:0}
    .small .s0{stroke-width:1.5}
    .chart{min-width:0;--high:16rem;padding-left:3.25rem}
    .small{--high:8rem}
    .flat{--high:6rem}
    figcaption{display:flex;flex-wrap:wrap;align-items:baseline;gap:0 1rem;margin:0 0 .5rem -3.25rem;\
    font-size:.8125rem;min-height:1.4rem}
    .small figcaption{min-height:2.6rem;align-content:start}
    .note{color:var(--soft);font-variant-numeric:tabular-nums}
    .note b{color:var(--ink);font-weight:600}
    .chart output{margin-left:auto;text-align:right;font-variant-numeric:tabular-nums;display:none}
    .at>figcaption .note,.at>figcaption .toggle{display:none}
    .chart.at output{display:block}
    .toggle{margin-left:auto;color:var(--soft);cursor:pointer;white-space:nowrap}
    .toggle input{margin:0 .25rem 0 0;vertical-align:-.1em;accent-color:var(--soft)}
    .small .toggle{margin-left:0}
    .plot{position:relative;height:var(--high);touch-action:pan-y}
    .layer{position:absolute;inset:0}
    .layer svg{display:block;width:100%;height:100%;overflow:visible}
    .log{display:none}
    .chart:has(:checked) .log{display:block}
    .chart:has(:checked) .linear{display:none}
    .plot path{fill:none;stroke:var(--ink);stroke-width:2;stroke-linejoin:round;stroke-linecap:round;\
    vector-effect:non-scaling-stroke}
    .plot .grid{stroke:var(--line);stroke-width:1}
    .plot .faint{stroke:var(--soft);stroke-width:1;opacity:.45}
    .s1 path,path.s1{stroke-dasharray:7 5}
    .s2 path,path.s2{stroke-dasharray:1 5}
    .plot path.s1,.plot path.s2,.plot path.s3{stroke:var(--soft)}
    .plot .dots{stroke-width:5}
    .plot .best{stroke-width:11;stroke:var(--ink)}
    .plot .level{stroke:var(--soft);stroke-width:1;stroke-dasharray:5 5}
    .plot .mark{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 4;stroke-linecap:butt}
    .plot .mark.warning{stroke:var(--warn)}
    .plot path[class^=k]{fill:rgb(var(--c));stroke:var(--paper);stroke-width:.5}
    .use{--high:13rem}
    .ys span{position:absolute;right:100%;margin-right:.5rem;transform:translateY(-50%);color:var(--soft);\
    font-size:.75rem;line-height:1;white-space:nowrap;font-variant-numeric:tabular-nums}
    .xs{position:relative;height:1.25rem;color:var(--soft);font-size:.75rem;overflow:hidden;\
    font-variant-numeric:tabular-nums;margin:0 -1.5rem;padding:0 1.5rem}
    .chart .xs{overflow:visible;margin:0;padding:0}
    .xs span{position:absolute;transform:translateX(-50%);top:.25rem;line-height:1}
    .cursor{position:absolute;top:0;bottom:0;width:0;border-left:1px solid var(--ink);pointer-events:none}
    .lines{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.5rem 0 0;padding:0;list-style:none;\
    color:var(--soft);font-size:.75rem}
    .lines svg{width:1.5rem;height:.5rem;margin-right:.375rem}
    .lines path{stroke:var(--ink);stroke-width:2;fill:none}
    .lines .faint path{stroke:var(--soft);stroke-width:1}
    .legend{margin-left:3.25rem;gap:.25rem 1.5rem;font-size:.875rem}
    .legend span{color:var(--soft);font-variant-numeric:tabular-nums}
    .use+.legend+.chart{margin-top:2.25rem}
    .use~.legend .swatch{background:rgb(var(--c));border-bottom:0;width:.75rem;height:.75rem;vertical-align:-.05rem}
    .lane{padding-left:3.25rem}
    .lane div{position:relative;height:1.125rem;border-bottom:1px solid var(--line)}
    .signs{margin:.375rem 0 1.25rem 3.25rem}
    .sign{font-style:normal;position:relative;display:inline-block;width:.75rem;margin-right:.375rem;line-height:1;\
    text-align:center;color:var(--soft);font-size:.75rem}
    .lane .sign:not(.checkpoint){background:var(--paper)}
    .lane .sign{position:absolute;bottom:1px;margin:0;transform:translateX(-50%);cursor:default}
    .sign.checkpoint::before{content:"";display:inline-block;border-left:1px solid;height:.5rem}
    .sign.resumed::before{content:"↻"}
    .sign.published::before{content:"◆"}
    .sign.end::before{content:"■"}
    .sign.warning::before{content:"▲"}
    .sign.warning,td.warning{color:var(--warn)}

    """

  private static let routingStyle = """
    .moment{display:none;flex-wrap:wrap;align-items:center;gap:.25rem .5rem;margin:0 0 1.25rem;font-size:.875rem}
    .js .moment{display:flex}
    .moment output{min-width:4em;font-weight:600;font-variant-numeric:tabular-nums}
    .moment input{flex:0 1 24rem;accent-color:var(--soft)}
    .mixes{display:flex;flex-wrap:wrap;gap:2rem 3.5rem}
    .mix{border-spacing:1px;font-size:.8125rem;font-variant-numeric:tabular-nums}
    .mix caption{text-align:left;color:var(--soft);padding-bottom:.5rem}
    .mix th{font-weight:400;text-align:right;padding:0 .5rem 0 0;max-width:11rem}
    .mix tbody bdi{display:block;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
    .mix thead th{padding:0 0 .25rem;text-align:center;max-width:5.5rem}
    .mix thead span{display:block;border-bottom:3px var(--u) rgb(var(--c));overflow:hidden;text-overflow:ellipsis;\
    white-space:nowrap;padding:0 .25rem}
    .mix td[class]{--a:0;min-width:3.5rem;height:1.625rem;text-align:center;\
    background:linear-gradient(rgb(var(--c)/calc(var(--a)*(var(--tint) + .1))) 0 0) var(--cell)}
    .many thead bdi{display:none}
    .many thead span{height:.375rem;border:0;background:rgb(var(--c))}
    .many{border-spacing:0}
    .mix.many td[class]{min-width:.4375rem;width:.4375rem;padding:0;height:.875rem;\
    background:linear-gradient(rgb(var(--c)/var(--a)) 0 0) var(--cell)}
    .many th{font-size:.6875rem;line-height:.875rem}
    .maps{display:grid;gap:1.75rem 2.5rem;margin-top:1rem;--row:1.125rem;\
    grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr))}
    .maps.dense{--row:.75rem}
    .maps.bare{--row:.375rem}
    .map{min-width:0}
    .map figcaption{margin-left:0;display:block;min-height:0}
    .map .swatch{width:.75rem;height:.75rem;vertical-align:-.05rem;border-bottom-width:2px}
    .pair{display:grid;gap:0 .75rem;grid-template-columns:minmax(2rem,max-content) minmax(0,1fr)}
    .sides2{grid-template-columns:minmax(2rem,max-content) minmax(0,1fr) minmax(0,1fr)}
    .names{display:grid;grid-auto-rows:var(--row);max-width:7rem;color:var(--soft);font-size:.6875rem;text-align:right;\
    line-height:var(--row)}
    .names span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
    .dense .names{font-size:.5625rem}
    .bare .names span{visibility:hidden}
    .pair em{font-style:normal;font-size:.75rem;line-height:1.25rem;color:var(--soft);white-space:nowrap;overflow:hidden}
    .pair .names,.pair .names~b{grid-column:1}
    .pair svg{display:block;width:100%;height:calc(var(--rows)*var(--row));background:var(--cell)}
    .pair path{fill:rgb(var(--c));shape-rendering:crispEdges}
    .pair .gaps{fill:none;stroke:var(--paper);stroke-width:1;vector-effect:non-scaling-stroke}
    .bare .gaps{display:none}
    .pair b{font-weight:400;font-size:.75rem;line-height:1;padding-top:.25rem;color:var(--soft);text-align:right}
    .pair .xs{margin:0;padding:0}
    summary{cursor:pointer;margin-top:1.5rem;color:var(--soft)}
    .caption{margin:1rem 0 0;color:var(--soft);font-size:.8125rem;min-height:1.5em}

    """
    + (1...shades).map { ".l\($0){fill-opacity:\(HTMLPage.fraction(Double($0) / Double(shades)))}" }
    .joined() + "\n"

  private static let tableStyle = """
    .list{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
    .list th,.list td{padding:.3125rem 1.5rem .3125rem 0;text-align:right;font-weight:400;\
    border-bottom:1px solid var(--line);vertical-align:top}
    .list thead th{color:var(--soft);font-size:.8125rem}
    .list th:first-child,.list .left{text-align:left}
    .list.events td:first-child,.list.events th:first-child{text-align:right}
    .list .swatch{width:.75rem;height:.75rem;vertical-align:-.05rem;border-bottom-width:2px}
    .events .left:nth-child(2){white-space:nowrap}
    section dl{margin-top:.5rem}

    """

  private static let narrowStyle = """
    @media (max-width:60rem){
    body{padding:1.75rem 1.25rem 3rem}
    h1{font-size:1.5rem}
    .figures{gap:1.25rem 2rem;margin-top:1.5rem}
    .figures dd{font-size:1.25rem}
    section{margin-top:2.75rem}
    .chart{--high:12rem}
    .small{--high:8rem}
    .flat{--high:5rem}
    .mixes{overflow-x:auto}
    .mix td[class]{min-width:2.75rem}
    .chart,.lane{padding-left:2.75rem}
    figcaption{margin-left:-2.75rem}
    .legend,.signs{margin-left:2.75rem}
    .list th,.list td{padding-right:1rem}
    }
    @media print{
    body{max-width:none;padding:0}
    .toggle,.moment,.cursor{display:none!important}
    .chart,.map,.mix{break-inside:avoid}
    h2,h3{break-after:avoid}
    details::details-content{content-visibility:visible}
    }

    """
}
