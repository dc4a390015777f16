import LMoECore

/// One HTML file that needs nothing else, and asks for nothing from elsewhere.
struct HTMLPage {
  /// The title, as text.
  let title: String
  /// How it looks.
  let style: String
  /// What is in it, as HTML.
  let body: String
  /// What the script works with.
  let data: JSON
  /// What makes it move.
  let script: String

  /// The page.
  var html: String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy" content="\(Self.policy)">
    <title>\(title.html)</title>
    <style>
    \(style)</style>
    </head>
    <body>
    \(body)<script type="application/json" id="data">\(data.script)</script>
    <script>
    \(script)</script>
    </body>
    </html>

    """
  }

  /// Nothing is fetched and nothing sent, whatever is in the text.
  private static let policy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    + "form-action 'none'"

  /// The colour and the line of each column, as a class: `k0`, `k1`, ….
  static func colours(of columns: [String]) -> String {
    let lines = ["solid", "dashed", "dotted", "double"]
    return ExpertPalette.numbers(of: columns).enumerated().map { column, number in
      guard let number else { return ".k\(column){--c:var(--base);--u:solid}\n" }
      // Colours come again with another line.
      let line = lines[(number + number / ExpertPalette.count) % lines.count]
      return ".k\(column){--c:\(ExpertPalette.page[number % ExpertPalette.count]);--u:\(line)}\n"
    }.joined()
  }

  /// A number from 0 to 1 for a style: `.43`.
  static func fraction(_ value: Double) -> String {
    guard value.isFinite, value > 0 else { return "0" }
    guard value < 0.995 else { return "1" }
    return String(formatted(value, digits: 2).dropFirst())
  }

  /// `41 %`.
  static func percent(_ share: Double) -> String { formatted(share * 100, digits: 0) + " %" }

  /// What all pages have in common.
  static let style = """
    :root{color-scheme:light dark;--paper:#fff;--ink:#1b1b19;--soft:#6d6c67;--prompt:#595853;--line:#dddcd6;--cell:#efeee9;\
    --base:140 139 132;--tint:.42;--mono:ui-monospace,"SF Mono",SFMono-Regular,Menlo,Consolas,"Liberation Mono",\
    monospace}
    @media (prefers-color-scheme:dark){:root{--paper:#161615;--ink:#ecebe6;--soft:#989790;--prompt:#b3b2ab;--line:#3a3936;\
    --cell:#262624;--base:150 149 142;--tint:.55}}
    *{box-sizing:border-box}
    html{-webkit-text-size-adjust:100%;print-color-adjust:exact;-webkit-print-color-adjust:exact}
    body{margin:0 auto;max-width:76rem;padding:3.5rem 2.5rem 4rem;background:var(--paper);color:var(--ink);\
    font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
    button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer}
    :focus-visible{outline:2px solid var(--ink);outline-offset:2px}
    bdi{overflow-wrap:anywhere}
    h1{margin:0;font-size:2rem;line-height:1.2;font-weight:600;letter-spacing:-.015em}
    dl{display:flex;flex-wrap:wrap;gap:.75rem 2rem;margin:1.25rem 0 0;font-size:.875rem}
    dt{color:var(--soft);font-size:.8125rem}
    dd{margin:0}
    .legend{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:1rem 0 0;padding:0;list-style:none}
    .swatch{display:inline-block;width:1rem;height:1rem;margin-right:.5rem;vertical-align:-.15rem;\
    background:rgb(var(--c)/var(--tint));border-bottom:3px var(--u) rgb(var(--c))}
    .none{color:var(--soft)}
    footer{margin-top:4rem;max-width:44rem;color:var(--soft);font-size:.8125rem}

    """
}
