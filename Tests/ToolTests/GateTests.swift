import Foundation
import LMoECore
import LMoEFormat
import Testing

import class LMoEFormat.Bundle

/// The commands about gates, and what the others say of them.
@Suite(.timeLimit(.minutes(2))) struct GateTests {
  private let tool: Tool

  init() throws {
    tool = try Tool()
    try tool.makeBundle("a.lmoe")
  }

  private func show(_ arguments: String...) throws -> JSON {
    try tool.run(["gate", "show", "a.lmoe", "--json"] + arguments).json()
  }

  private func experts(_ gate: JSON?) -> [String: JSON] {
    Dictionary(
      (gate?["experts"]?.array ?? []).map { ($0["name"]?.string ?? $0["id"]?.string ?? "", $0) },
      uniquingKeysWith: { $1 })
  }

  /// The screen, ids and times masked.
  private func screen(_ arguments: String...) throws -> String {
    try tool.succeed(command: ["gate", "show", "a.lmoe"] + arguments).out
      .replacing(#/[0-9a-f]{32}/#, with: "ID").replacing(#/\d{4}-\d\d-\d\d \d\d:\d\d/#, with: "TIME")
  }

  @Test func `a gate's life`() throws {
    let made = try tool.succeed("gate", "init", "a.lmoe", "--kind", "arrow").out
    #expect(
      made.hasPrefix("a.lmoe: added gate/default (arrow, 27 rows); ") && made.hasSuffix("generation 2\n"))
    #expect(
      try screen("default") == """
        gate default  id ID
          decides  for each linear layer, by its input
          score    prototype p: |x·p|
          weights  softmax of the 2 highest scores
          made     arrow, TIME UTC

          expert  part    rows  norm  first layer … last
          code    routed    21  1.00  ███
          math    routed     6  1.00  ███

        """)
    let full = try show()
    #expect(full["schema"] == 1 && full["generation"] == 2 && full["default"] == "default")
    #expect(full["gates"]?.array?.map { $0["name"] } == ["default", "uniform"])
    let code = experts(full["gates"]?.array?.first)["code"]
    #expect(code?["standing"] == "aware" && code?["rows"] == 21 && code?["places"] == 21)
    #expect(code?["norms"]?.object?.members.count == 21)

    // An expert that comes later is nobody to it, and that is said.
    let added = try tool.run("add", "a.lmoe", "verse=\(Tool.adapter("verse"))", "--json")
    #expect(added.status == 0)
    #expect(
      added.err
        == "Note: a.lmoe: gate/default is unaware of verse, and gives weight 0; make it anew "
        + "(\"lmoe-tool gate init\" with --name default --force) or train it\n")
    #expect(try added.json()["unaware_gates"] == [["gate": "default", "experts": ["verse"]]])
    #expect(try tool.succeed("inspect", "a.lmoe").out.contains("top 2; unaware of verse\n"))
    #expect(
      try screen("default").hasSuffix(
        """
          code    routed       21  1.00  ███
          math    routed        6  1.00  ███
          verse   unaware  0 of 9     –

          where it is unaware of an expert, that has weight 0; make it anew with "gate
          init", or train it

        """))

    let removed = try tool.succeed("remove", "a.lmoe", "code", "--json").json()
    #expect(
      removed["gates"] == [["gate": "default", "rows": 21, "members": 0, "weights": 0, "deserted": false]])
    try tool.succeed("rename", "a.lmoe", "math", "Mathematik")
    #expect(try Set(experts(show("default")["gates"]?.array?.first).keys) == ["Mathematik", "verse"])
    try tool.succeed("verify", "a.lmoe", "--full")

    let again = try tool.succeed("gate", "init", "a.lmoe", "--kind", "arrow", "--force", "--top-k", "1").out
    #expect(again.contains("replaced gate/default (arrow, 15 rows)"))
    #expect(
      try experts(show("default")["gates"]?.array?.first).values.allSatisfy { $0["standing"] == "aware" })
    #expect(try tool.succeed("gate", "drop", "a.lmoe", "default").out.contains("dropped gate/default; "))
    #expect(try Bundle(path: tool.path("a.lmoe")).banks(ofKind: "gate").map(\.name) == ["gate/uniform"])
    let notes = try Bundle(path: tool.path("a.lmoe")).history().map(\.root.note)
    #expect(
      notes == [
        "drop gate/default", "replace gate/default (arrow, 15 rows)",
        "rename expert/math to expert/Mathematik", "remove expert/code", "add expert/verse",
        "add gate/default (arrow, 27 rows)", "import tiny-llama",
      ])
  }

  @Test func `constant gates`() throws {
    try tool.succeed(
      "gate", "init", "a.lmoe", "--kind", "constant", "--weights", "math=.75,code=-2e-1", "--name", "default")
    #expect(
      try screen() == """
        gate default  id ID
          decides  once and for all tokens
          weights  as given
          made     constant, TIME UTC

          expert  part    weight
          code    routed    -0.2
          math    routed    0.75

        gate uniform  id ID
          decides  once and for all tokens
          weights  every expert alike, those to come too

          expert  part    weight
          code    routed     0.5
          math    routed     0.5

        """)
    let removed = try tool.succeed("remove", "a.lmoe", "math").out
    #expect(
      removed.hasSuffix(
        "\n  gate/default lost 1 weight; the other weights are as they were, whatever they add up to\n"))
    #expect(
      try tool.succeed("remove", "a.lmoe", "code").out.hasSuffix(
        "gate/default lost 1 weight and has no expert left: make it anew with \"gate init\", or take it out "
          + "with \"gate drop\"\n"))

    try tool.makeBundle("b.lmoe", "--gate", "none")
    #expect(try tool.succeed("gate", "show", "b.lmoe").out.hasPrefix("b.lmoe has no gates; "))
    try tool.succeed("gate", "init", "b.lmoe", "--kind", "uniform", "--null", "--always", "math")
    let gate = try tool.succeed("gate", "show", "b.lmoe", "--json").json()["gates"]?.array?.first
    let members = gate?["card"]?["members"]?.array ?? []
    #expect(Set(members.compactMap { $0["role"]?.string }) == ["routed", "always"] && members.count == 3)
    #expect(try tool.succeed("gate", "show", "b.lmoe").out.contains("(the bare base)  routed     0.5\n"))
  }

  @Test func `random gates`() throws {
    let note = try tool.run(
      "gate", "init", "a.lmoe", "--kind", "random", "--seed", "3", "--scope", "global", "--null", "--top-k",
      "1", "--name", "r")
    #expect(note.status == 0)
    #expect(
      note.err == """
        Note: a.lmoe: with --top-k 1 the one expert has weight 1, and training cannot move the gate; add --raw
        Note: a.lmoe: there are 2 gates and none is called "default": name one with --gate

        """)
    let card = try show("r")["gates"]?.array?.first?["card"]
    #expect(card?["score"] == "linear" && card?["input"] == "embedding" && card?["k"] == 1)
    #expect(card?["provenance"]?["seed"] == 3 && card?["members"]?.array?.count == 3)
    #expect(try show()["default"] == .null)
    let rows = try Bundle(path: tool.path("a.lmoe")).manifest(
      of: try Bundle(path: tool.path("a.lmoe")).bank("gate/r")
    ).tensors
    #expect(rows.count == 3 && rows.allSatisfy { $0.type.shape == [65] && $0.isRawExtent })
  }

  /// Arguments, status, and what is said.
  static let refusals: [(arguments: String, status: Int32, sentence: String)] = [
    ("gate init missing --kind uniform", 74, "cannot open missing: no such file or directory"),
    (
      "gate init a.lmoe --kind uniform --name uniform", 3,
      "a.lmoe already has a gate \"uniform\"; choose another name, or replace it with --force"
    ),
    ("gate init a.lmoe --kind uniform --name a,b", 3, "\"a,b\" cannot be the name of a gate: "),
    ("gate init a.lmoe --kind constant --weights ghost=1", 3, "a.lmoe has no bank \"expert/ghost\""),
    ("gate init a.lmoe --kind random --always ghost", 3, "a.lmoe has no bank \"expert/ghost\""),
    (
      "gate init e.lmoe --kind random", 3,
      "e.lmoe has no experts that a gate could choose from; add some first"
    ),
    (
      "gate init a.lmoe --kind prompts --prompts math=missing", 74,
      "cannot open missing: no such file or directory"
    ),
    (
      "gate init a.lmoe --kind prompts --prompts math=empty", 3,
      "empty is not a text that can be read: it is empty"
    ),
    (
      "gate init a.lmoe --kind prompts --prompts math=binary", 3,
      "binary is not a text that can be read: it is not UTF-8"
    ),
    ("gate show a.lmoe ghost", 3, "a.lmoe has no bank \"gate/ghost\""),
    ("gate drop a.lmoe ghost", 3, "a.lmoe has no bank \"gate/ghost\""),
    ("gate init a.lmoe --kind arrow --top-k 3", 64, "--top-k 3 is more than there are to choose from (2)."),
    (
      "gate init a.lmoe --kind random --always math --always code", 64,
      "Every expert is --always on: none is left to choose."
    ),
    (
      "gate init a.lmoe --kind constant --weights math=1 --always math", 64,
      "math cannot have a weight and be --always on."
    ),
    ("gate init a.lmoe", 64, "Missing expected argument '--kind <kind>'"),
    ("gate init a.lmoe --kind oracle", 64, "The value 'oracle' is invalid for '--kind <kind>'"),
    ("gate init a.lmoe --kind constant", 64, "--kind constant needs --weights."),
    ("gate init a.lmoe --kind prompts", 64, "--kind prompts needs --prompts NAME=FILE."),
    ("gate init a.lmoe --kind uniform --weights math=1", 64, "--weights goes with --kind constant."),
    ("gate init a.lmoe --kind constant --weights math", 64, "The value 'math' is invalid"),
    ("gate init a.lmoe --kind constant --weights math=x", 64, "The value 'math=x' is invalid"),
    ("gate init a.lmoe --kind constant --weights math=nan", 64, "The value 'math=nan' is invalid"),
    ("gate init a.lmoe --kind constant --weights math=1e39", 64, "The value 'math=1e39' is invalid"),
    ("gate init a.lmoe --kind constant --weights math=1,math=2", 64, "The value 'math=1,math=2' is invalid"),
    ("gate init a.lmoe --kind constant --weights math=1, --null", 64, "The value 'math=1,' is invalid"),
    (
      "gate init a.lmoe --kind constant --weights math=1 --null", 64,
      "--null goes with --kind uniform or random or"
    ),
    ("gate init a.lmoe --kind uniform --top-k 1", 64, "--top-k goes with --kind random or arrow or prompts."),
    ("gate init a.lmoe --kind random --raw", 64, "--raw goes with --top-k."),
    ("gate init a.lmoe --kind random --top-k 0", 64, "--top-k must be at least 1."),
    ("gate init a.lmoe --kind random --temperature 0", 64, "--temperature must be from"),
    ("gate init a.lmoe --kind arrow --scope layer", 64, "--kind arrow makes a gate of --scope module"),
    ("gate init a.lmoe --kind arrow --seed 1", 64, "--seed goes with --kind random."),
  ]

  @Test(arguments: refusals.indices) func `refused`(index: Int) throws {
    let (arguments, status, sentence) = Self.refusals[index]
    try Data().write(to: URL(filePath: tool.path("empty")))
    try Data([0xFF]).write(to: URL(filePath: tool.path("binary")))
    try tool.makeBundle("e.lmoe", experts: [])
    let (names, bytes) = (try tool.names(), try tool.contents("a.lmoe"))
    let output = try tool.run(arguments.split(separator: " ").map(String.init))
    #expect(output.status == status && output.out == "")
    #expect(output.err.hasPrefix("Error: \(sentence)"), "\(output.err)")
    #expect(try tool.names() == names && tool.contents("a.lmoe") == bytes, "something was changed or left")
  }

  /// A gate of another tool, or a damaged one: shown with the reason, and in nobody's way.
  @Test func `gates that cannot be used`() throws {
    let writer = try BundleWriter(appendingTo: tool.path("a.lmoe"))
    let text = "\u{1B}[2J" + String(repeating: "x", count: 200)
    try writer.addBank(
      "gate/odd", card: ["card": 1, "score": "mlp", "scope": "layer", "more": .string(text)], entries: [])
    try writer.commit(note: "odd")
    let reason = "a.lmoe: the gate \"odd\" has \"score\" \"mlp\", which this tool cannot compute"
    let all = try tool.succeed("gate", "show", "a.lmoe").out
    #expect(all.contains("gate odd  id ") && all.contains("  cannot be used: a.lmoe: the gate \"odd\" has"))
    #expect(!all.contains("\u{1B}") && all.split(separator: "\n").allSatisfy { $0.count <= 80 })
    #expect(try show()["gates"]?.array?.first?["problem"]?.string?.contains(reason.dropFirst(8)) == true)
    let one = try tool.run("gate", "show", "a.lmoe", "odd")
    #expect(one.status == 3 && one.out == "" && one.err.contains(reason.dropFirst(8)))
    #expect(try tool.succeed("inspect", "a.lmoe").out.contains("odd: cannot be used; see --gate"))
    try tool.succeed("add", "a.lmoe", "verse=\(Tool.adapter("verse"))")
    try tool.succeed("remove", "a.lmoe", "math")
    try tool.succeed("gate", "drop", "a.lmoe", "odd")
  }

  /// Compaction and parts of a bundle take gates along.
  @Test func `gates go along`() throws {
    try tool.succeed("gate", "init", "a.lmoe", "--kind", "random", "--null")
    let before = try show("default")["gates"]
    for codec in ["raw", "planes"] {
      try tool.succeed("compact", "a.lmoe", "--codec", codec)
      #expect(try show("default")["gates"] == before)
    }
    let part = try tool.run("export", "a.lmoe", "--to", "lmoe", "--expert", "code", "-o", "part.lmoe")
    #expect(part.status == 0 && part.err == "Note: part.lmoe: gate/default lost 1 member, 3 rows\n")
    let gate = try tool.succeed("gate", "show", "part.lmoe", "default", "--json").json()["gates"]?.array?
      .first
    #expect(gate?["id"] == before?.array?.first?["id"])
    #expect(Set(experts(gate).keys) == ["code", String(repeating: "0", count: 32)])
    #expect(gate?["experts"]?.array?.allSatisfy { $0["standing"] == "aware" && $0["rows"] == 3 } == true)
    try tool.succeed("export", "a.lmoe", "--to", "lmoe", "-o", "all.lmoe")
    try tool.succeed("diff", "a.lmoe", "all.lmoe")
  }
}
