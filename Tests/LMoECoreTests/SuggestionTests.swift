import LMoECore
import Testing

/// What "did you mean" proposes.
@Suite struct SuggestionTests {
  static let commands = ["import", "inspect", "add", "remove", "export", "verify", "history", "restore"]
  static let modules = [
    "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj", "model.layers.0.mlp.gate_proj",
    "model.layers.1.self_attn.q_proj", "lm_head", "model.embed_tokens",
  ]

  static let cases: [(name: String, candidates: [String], expected: String?)] = [
    // Each kind of slip.
    ("inspct", commands, "inspect"), ("innspect", commands, "inspect"), ("inspekt", commands, "inspect"),
    ("inpsect", commands, "inspect"), ("imprt", commands, "import"), ("exprot", commands, "export"),
    ("ad", commands, "add"), ("dad", commands, "add"), ("verfiy", commands, "verify"),
    ("hsitroy", commands, "history"), ("remvoe", commands, "remove"),
    // Not plausible: more than a third, or more than one in a short name.
    ("merge", commands, nil), ("xyz", commands, nil), ("quantize", commands, nil), ("ab", ["cd"], nil),
    ("abc", ["axy"], nil), ("abcdef", ["abcxyz"], nil), ("abcdef", ["abcdxy"], "abcdxy"), ("a", ["b"], nil),
    ("math", [], nil), ("", ["a"], nil), ("math", [""], nil), ("a", [""], nil),
    // Case.
    ("MATH", ["code", "math"], "math"), ("Math", ["moth", "path", "math"], "math"),
    ("Lm_Head", modules, "lm_head"), ("ÉTÉ", ["ete", "été"], "été"),
    ("cAt", ["cut", "cot", "cbt", "cAb"], "cut"),
    ("axC", ["bxC", "abc", "axd", "aXd"], "bxC"), ("abX", ["abz", "abxy"], "abz"),
    ("Abx", ["bbx", "aby", "abz"], "bbx"),
    // A beginning or a last part, if there is one only.
    ("hist", commands, "history"), ("re", commands, nil), ("rem", commands, "remove"),
    ("e", commands, "export"),
    ("im", ["in", "import"], "import"), ("lm_head", ["model.lm_head", "lm_heads"], "model.lm_head"),
    ("k_proj", modules, "model.layers.0.self_attn.k_proj"), ("q_proj", modules, nil),
    ("1.self_attn.q_proj", modules, "model.layers.1.self_attn.q_proj"), ("proj", modules, nil),
    ("embed_tokens", modules, "model.embed_tokens"), ("q", ["a.q", "a.q"], "a.q"),
    ("q", ["a.q", "b.q"], nil),
    ("model", modules, nil), ("q", ["k", "v", "model.q"], "model.q"),
    ("model.layers.0.self_atn.k_proj", modules, "model.layers.0.self_attn.k_proj"),
    ("model.layers.0.self_attn.qproj", modules, "model.layers.0.self_attn.q_proj"),
    // The closest, and of those the first.
    ("math", ["mathss2", "maths2", "moths", "moth", "path"], "moth"), ("math", ["path", "moth"], "path"),
    ("math", ["math"], "math"),
    // Scalars, not characters.
    ("e\u{301}a", ["\u{E9}a", "ea"], "ea"), ("数学专家", ["数学专业", "法学"], "数学专业"),
  ]

  @Test func `names and what they are taken for`() {
    for (name, candidates, expected) in Self.cases {
      let closest = closestName(to: name, among: candidates)
      #expect(closest == expected, "\(name) among \(candidates)")
    }
  }

  @Test func `any sequence`() {
    #expect(closestName(to: "maht", among: Set(["math"])) == "math")
    #expect(closestName(to: "maht", among: ["math": 1].keys) == "math")
    #expect(closestName(to: "maht", among: ["math", "path"].lazy.filter { $0 != "math" }) == nil)
  }

  /// The distance by its definition.
  private func distance(_ left: [Unicode.Scalar], _ right: [Unicode.Scalar]) -> Int {
    var table = Array(repeating: Array(repeating: 0, count: right.count + 1), count: left.count + 1)
    for i in 0...left.count {
      for j in 0...right.count {
        guard i > 0 && j > 0 else {
          table[i][j] = max(i, j)
          continue
        }
        let replaced = table[i - 1][j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1)
        table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, replaced)
        if i > 1, j > 1, left[i - 1] == right[j - 2], left[i - 2] == right[j - 1] {
          table[i][j] = min(table[i][j], table[i - 2][j - 2] + 1)
        }
      }
    }
    return table[left.count][right.count]
  }

  @Test func `distances are those of the definition`() {
    var generator = SplitMix(seed: 7)
    for _ in 0..<6000 {
      let count = Int.random(in: 2...14, using: &generator)
      let name = (0..<count).map { _ in "abc".unicodeScalars.randomElement(using: &generator) ?? "a" }
      var other = name
      for _ in 0..<Int.random(in: 0...5, using: &generator) {
        let place = Int.random(in: 0...other.count, using: &generator)
        switch Int.random(in: 0..<4, using: &generator) {
        case 0: other.insert("d", at: place)
        case 1: if place < other.count { other.remove(at: place) }
        case 2: if place < other.count { other[place] = "c" }
        default: if place + 1 < other.count { other.swapAt(place, place + 1) }
        }
      }
      // No clue but the distance: neither begins with the other.
      let (text, candidate) = (string(name), string(other))
      guard !candidate.hasPrefix(text) else { continue }
      let isClose = distance(name, other) <= max(1, count / 3)
      #expect(
        closestName(to: text, among: [candidate]) == (isClose ? candidate : nil), "\(text) \(candidate)")
      // A farther one before it changes nothing.
      if isClose {
        let far = string(name.dropLast()) + String(repeating: "z", count: distance(name, other) + 1)
        #expect(closestName(to: text, among: [far, candidate]) == candidate)
      }
    }
  }

  private func string(_ scalars: some Sequence<Unicode.Scalar>) -> String {
    var text = String.UnicodeScalarView()
    text.append(contentsOf: scalars)
    return String(text)
  }

  @Test(.timeLimit(.minutes(1))) func `long names and many candidates`() {
    let long = String(repeating: "ab", count: 128)
    #expect(closestName(to: long, among: [long + "x"]) == long + "x")
    #expect(closestName(to: "x" + long.dropLast(), among: [long]) == long)
    #expect(closestName(to: long + "x", among: [long]) == nil)
    #expect(closestName(to: String(repeating: "a", count: 10_000_000), among: ["a"]) == nil)
    #expect(closestName(to: "maht", among: [String(repeating: "a", count: 10_000_000), "math"]) == "math")
    // As far as a candidate can be, and as many as are looked at: the work has an end.
    let name = String(repeating: "a", count: 256)
    let far = (0..<100_001).lazy.map { String(repeating: "ba", count: 120) + String($0) }
    #expect(closestName(to: name, among: far) == nil)
    let layers = (0..<50_000).flatMap { ["model.layers.\($0).q_proj", "model.layers.\($0).k_proj"] }
    #expect(closestName(to: "model.layers.49999.qproj", among: layers) == "model.layers.49999.q_proj")
    #expect(closestName(to: "model.layers.49999.q_proj.", among: layers) == "model.layers.49999.q_proj")
    #expect(closestName(to: "zyx", among: layers + ["zxy"]) == nil)
    #expect(closestName(to: "zyx", among: layers.dropLast() + ["zxy"]) == "zxy")
  }
}
