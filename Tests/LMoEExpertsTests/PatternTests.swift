import LMoECore
import LMoEExperts
import Testing

/// Keys of `rank_pattern` and `alpha_pattern`, matched as PEFT does: `re.match(r"(.*\.)?(key)$", module)`.
@Suite struct PatternTests {
  static let modules = [
    "layers.0.q", "layers.10.q", "model.layers.0.q", "layersX0Xq", "a.layers.0.q", "xlayers.0.q",
    "model.xlayers.0.q", "q", "qq", "m.q", "m.q.q", "m.layers_0_q", "q.layers.0", "q.x",
  ]

  /// Computed with Python's `re`.
  static let matches: [(key: String, modules: Set<String>)] = [
    (
      "q",
      [
        "layers.0.q", "layers.10.q", "model.layers.0.q", "a.layers.0.q", "xlayers.0.q", "model.xlayers.0.q",
        "q",
        "m.q", "m.q.q",
      ]
    ),
    ("layers.0.q", ["layers.0.q", "model.layers.0.q", "layersX0Xq", "a.layers.0.q", "m.layers_0_q"]),
    ("^layers.0.q", ["layers.0.q", "layersX0Xq"]),
    ("^q", ["q"]),
    ("model.layers.0.q", ["model.layers.0.q"]),
    (".q", ["qq"]),
    (
      "..q",
      ["layers.0.q", "model.layers.0.q", "a.layers.0.q", "xlayers.0.q", "model.xlayers.0.q", "m.q", "m.q.q"]
    ),
    ("^.q", ["qq"]),
    ("0.q", ["layers.0.q", "model.layers.0.q", "a.layers.0.q", "xlayers.0.q", "model.xlayers.0.q"]),
    ("10.q", ["layers.10.q"]),
    ("layers.0", ["q.layers.0"]),
    ("q.layers.0", ["q.layers.0"]),
    (
      ".",
      [
        "layers.0.q", "layers.10.q", "model.layers.0.q", "a.layers.0.q", "xlayers.0.q", "model.xlayers.0.q",
        "q",
        "m.q", "m.q.q", "q.layers.0", "q.x",
      ]
    ),
    ("model.q", []), ("........q", []), ("layers", []), ("Q", []),
  ]

  /// The alpha of each module, given the patterns.
  private func alphas(_ patterns: [(String, JSON)]) throws -> [String: Double] {
    let scratch = try Scratch()
    let path = try scratch.adapter(
      Self.modules.flatMap { factors($0) }, [("lora_alpha", 1), ("alpha_pattern", .object(patterns))])
    let groups = try PEFTAdapter(path: path).groups
    return Dictionary(
      uniqueKeysWithValues: groups.flatMap { group in group.targets.map { ($0, group.numbers.alpha) } })
  }

  @Test(arguments: matches) func `keys and modules`(key: String, modules: Set<String>) throws {
    let alphas = try alphas([(key, 32)])
    #expect(Set(alphas.keys) == Set(Self.modules))
    #expect(Set(alphas.filter { $0.value == 32 }.keys) == modules)
    #expect(alphas.values.allSatisfy { $0 == 32 || $0 == 1 })
  }

  @Test func `the first matching key wins`() throws {
    let narrowFirst = try alphas([("layers.0.q", 4), ("q", 2)])
    #expect(
      narrowFirst["model.layers.0.q"] == 4 && narrowFirst["layers.10.q"] == 2 && narrowFirst["q.x"] == 1)
    let wideFirst = try alphas([("q", 2), ("layers.0.q", 4)])
    #expect(wideFirst["model.layers.0.q"] == 2 && wideFirst["layersX0Xq"] == 4)
  }

  @Test func `rank and alpha patterns are independent and scaling uses both`() throws {
    let scratch = try Scratch()
    let tensors =
      factors("a.q", rank: 2) + factors("a.v", rank: 4) + factors("b.q", rank: 2) + factors("b.k", rank: 9)
    for (usesRSLoRA, root) in [(false, 1.0), (true, 0.5)] {
      let path = try scratch.adapter(
        tensors,
        [
          ("r", 9), ("lora_alpha", 18), ("rank_pattern", ["q": 2, "v": 4]), ("alpha_pattern", ["b.q": 5]),
          ("use_rslora", .bool(usesRSLoRA)),
        ])
      let groups = try PEFTAdapter(path: path).groups
      for (module, rank, alpha) in [("a.q", 2, 18.0), ("a.v", 4, 18.0), ("b.q", 2, 5.0), ("b.k", 9, 18.0)] {
        let group = try #require(groups.first { $0.targets.contains(module) })
        #expect(group.numbers.rank == rank && group.numbers.alpha == alpha)
        let divisor = root == 1 ? Double(rank) : Double(rank).squareRoot()
        #expect(abs(group.numbers.scaling - alpha / divisor) < 1e-12, "\(module)")
      }
    }
  }

  @Test(arguments: ["(?!q)v", "(?<=a)q", "(q)\\1", "q(", "[q", "(?i)q", String(repeating: "q", count: 4097)])
  func `what no finite automaton can tell, or Python refuses, is refused`(key: String) throws {
    let scratch = try Scratch()
    for pattern in ["rank_pattern", "alpha_pattern"] {
      let path = try scratch.adapter(factors("q"), [(pattern, .object([(key, 1 as JSON)]))])
      let error = #expect(throws: ExpertError.self) { _ = try PEFTAdapter(path: path) }
      #expect(error?.code == .unsupportedPattern && error?.name == key && error?.expected == pattern)
    }
  }
}
