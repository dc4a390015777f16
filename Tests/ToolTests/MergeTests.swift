import Foundation
import LMoECore
import LMoEFormat
import Testing

/// merge, extract, resize and diff of experts, from outside.
@Suite(.timeLimit(.minutes(2))) struct MergeTests {
  private let tool: Tool
  private static let base = "\(Tool.fixtures)/families/llama-f32"

  init() throws { tool = try Tool() }

  private static func variant(_ name: String) -> String { "\(Tool.fixtures)/variants/llama/\(name)" }

  /// A bundle of the float32 base and some of its adapters.
  private func makeBundle(_ names: [String], base: String = MergeTests.base) throws {
    let experts = names.flatMap { ["--expert", "\($0)=\(Self.variant($0))"] }
    let output = try tool.run(["import", "--base", base, "-o", "b.lmoe"] + experts)
    try #require(output.status == 0, "\(output.err)")
  }

  private func logits(_ file: String, _ arguments: String...) throws -> [Float] {
    let out = "\(UUID()).safetensors"
    let output = try tool.run(["logits", file, "--ids", "5,6,7,60,1,90", "-o", out] + arguments)
    try #require(output.status == 0, "\(output.err)")
    return try floats(out, "logits")
  }

  private func floats(_ file: String, _ name: String) throws -> [Float] {
    let file = try SafetensorsFile(path: tool.path(file))
    let tensor = try #require(file.tensors.first { $0.name == name })
    #expect(tensor.type.dtype == .f32)
    var bytes = [UInt8](repeating: 0, count: tensor.type.rawBytes)
    try bytes.withUnsafeMutableBytes { try file.source(of: tensor).read(into: $0, at: 0) }
    return bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
  }

  private func distance(_ found: [Float], _ expected: [Float]) -> Float {
    #expect(found.count == expected.count && !found.isEmpty)
    let largest = expected.map(\.magnitude).max() ?? 1
    return zip(found, expected).map { ($0 - $1).magnitude / largest }.max() ?? .infinity
  }

  /// What the runtime mixes with given weights is what the merged expert does.
  @Test(
    arguments: ["cat", "linear"], [["classic", "rslora"], ["patterns", "embed"], ["rank-1", "all-linear"]])
  func `merged is mixed`(_ method: String, _ names: [String]) throws {
    // Embeddings take no part in a mixture.
    let plain = names.filter { $0 != "embed" }
    try makeBundle(plain + ["layers"])
    let experts = plain + ["layers"]
    let weights = zip(experts, [0.7, -0.4, 1.3]).map { "\($0)=\($1)" }
    let output = try tool.run(
      ["merge", "b.lmoe", "--method", method, "--as", "both"] + weights.flatMap { ["--expert", $0] })
    try #require(output.status == 0, "\(output.err)")
    try tool.succeed("verify", "b.lmoe")
    let live = try logits("b.lmoe", "--weights", weights.joined(separator: ","))
    #expect(distance(try logits("b.lmoe", "--expert", "both"), live) < 1e-5)
    #expect(distance(try logits("b.lmoe", "--base"), live) > 1e-3)
  }

  /// The merged model is the mixture, DoRA and biases and whole tensors among it.
  @Test(arguments: [
    ["classic", "rslora", "dora"], ["dora-rslora"], ["bias-all"], ["saved-norm", "classic"], ["head"],
  ])
  func `into the base`(_ names: [String]) throws {
    try makeBundle(names)
    let weights = zip(names, names.count == 1 ? [1] : [0.7, -0.4, 1.3]).map { "\($0)=\($1)" }
    let output = try tool.run(
      ["merge", "b.lmoe", "--into-base", "-o", "hf"] + weights.flatMap { ["--expert", $0] })
    try #require(output.status == 0, "\(output.err)")
    let imported = try tool.run("import", "--base", "hf", "-o", "hf.lmoe")
    try #require(imported.status == 0, "\(imported.err)")
    let merged = try logits("hf.lmoe", "--base")
    let live =
      names.count == 1
      ? try logits("b.lmoe", "--expert", names[0])
      : names.contains("saved-norm") ? nil : try logits("b.lmoe", "--weights", weights.joined(separator: ","))
    if let live { #expect(distance(merged, live) < 2e-5, "\(distance(merged, live))") }
    #expect(distance(merged, try logits("b.lmoe", "--base")) > 1e-3)
    // With no bundle, from directories.
    if live != nil {
      let again = try tool.run(
        ["merge"] + names.map(Self.variant) + [
          "--weights", weights.map { String($0.split(separator: "=")[1]) }.joined(separator: ","), "--base",
          Self.base,
          "--into-base", "-o", "other",
        ])
      try #require(again.status == 0, "\(again.err)")
      #expect(
        try contents(ofDirectory: tool.path("other"))["model.safetensors"]
          == contents(ofDirectory: tool.path("hf"))["model.safetensors"])
    }
  }

  @Test func `a tied head parts from its embedding`() throws {
    let base = "\(Tool.fixtures)/tiny-llama"
    let output = try tool.run(
      "merge", Tool.adapter("embed"), "--base", base, "--into-base", "-o", "hf", "--json")
    try #require(output.status == 0, "\(output.err)")
    #expect(try output.json()["untied"] == true)
    let names = try SafetensorsFile(path: tool.path("hf/model.safetensors")).tensors.map(\.name)
    #expect(names.contains("lm_head.weight") && names.contains("model.embed_tokens.weight"))
    let configuration = try JSON(parsing: tool.contents("hf/config.json"))
    #expect(configuration["tie_word_embeddings"] == false)
    // The live expert and the merged model agree but for the rounding to bf16.
    for (file, arguments) in [
      ("hf.lmoe", ["--base", "hf"]), ("b.lmoe", ["--base", base, "--expert", "e=\(Tool.adapter("embed"))"]),
    ] {
      let made = try tool.run(["import", "-o", file] + arguments)
      try #require(made.status == 0, "\(made.err)")
    }
    #expect(distance(try logits("hf.lmoe", "--base"), try logits("b.lmoe", "--expert", "e")) < 2e-2)
  }

  @Test func `a gate gives the merged expert its members' share`() throws {
    try makeBundle(["classic", "rslora", "patterns"])
    let made = try tool.run(
      "gate", "init", "b.lmoe", "--kind", "constant", "--weights", "classic=0.5,rslora=-0.125,patterns=1",
      "--name", "g")
    try #require(made.status == 0, "\(made.err)")
    let output = try tool.run(
      "merge", "b.lmoe", "--expert", "classic=0.75", "--expert", "rslora=0.25", "--as", "both", "--gate",
      "mass",
      "--replace")
    try #require(output.status == 0, "\(output.err)")
    #expect(output.out.contains("gate/g has a weight for expert/both, for its members' share"))
    #expect(output.out.contains("removed expert/classic, expert/rslora"))
    let shown = try tool.run("gate", "show", "b.lmoe", "g", "--json").out
    // It is given as it is: 0.5 - 0.125.
    #expect(shown.contains("0.375"), "\(shown)")
    try tool.succeed("verify", "b.lmoe")
    _ = try logits("b.lmoe", "--gate", "g")
  }

  @Test func `what changed is extracted again`() throws {
    let merged = try tool.run(
      "merge", Self.variant("classic"), Self.variant("all-linear"), "--weights", "1,0.5", "--base", Self.base,
      "--into-base",
      "-o", "hf")
    try #require(merged.status == 0, "\(merged.err)")
    let report = try tool.succeed(
      "extract", "--base", Self.base, "--tuned", "hf", "--rank", "16", "-o", "lora", "--json"
    ).json()
    #expect(try #require(report["error"]?.double) < 1e-4)
    #expect(report["left_out"] == [])
    let sum = try tool.run(
      "merge", Self.variant("classic"), Self.variant("all-linear"), "--weights", "1,0.5", "-o", "sum")
    try #require(sum.status == 0)
    let difference = try tool.succeed("diff", "lora", "sum", "--json").json()["total"]
    #expect(try #require(difference?["cosine"]?.double) > 0.999999)
    let size = try #require(difference?["first"]?.double)
    #expect(try #require(difference?["distance"]?.double) < 1e-4 * size)
    // The best of a rank loses what the singular values say.
    let small = try tool.succeed("resize", "sum", "--rank", "1", "-o", "small", "--json").json()
    let lost = try #require(small["error"]?.double)
    #expect(lost > 0.1 && lost < 1)
    let apart = try tool.succeed("diff", "sum", "small", "--json").json()["total"]
    let norm = try #require(apart?["first"]?.double)
    let distance = try #require(apart?["distance"]?.double)
    #expect(abs(distance / norm - lost) < 1e-5)
    let energy = try tool.succeed("resize", "sum", "--energy", "0.9", "-o", "most", "--json").json()
    #expect(try #require(energy["error"]?.double) <= 0.1.squareRoot() + 1e-9)
  }

  @Test(arguments: [
    (
      ["merge", "@classic", "@rslora", "--weights", "0,0", "-o", "x"],
      "Error: these cannot be merged: all weights are 0, and so would be the result\n"
    ),
    (
      ["merge", "@classic", "@rslora", "--weights", "1", "-o", "x"],
      "Error: these cannot be merged: 2 experts have 1 weights; give one for each\n"
    ),
    (
      ["merge", "@classic", "--method", "slerp", "-o", "x"],
      "Error: these cannot be merged: slerp goes between 2 experts, not 1; karcher takes any number\n"
    ),
    (
      ["merge", "@classic", "@saved-norm", "-o", "x"],
      "Error: @saved-norm: \"base_model.model.model.layers.0.input_layernorm.weight\" cannot be merged so: it comes with values that replace the base's, which no low-rank delta holds; use --into-base\n"
    ),
    (
      ["merge", "@classic", "@replicated", "-o", "x"],
      "Error: @replicated: \"layer_replication\" cannot be merged so: it stacks the base's layers anew\n"
    ),
    (
      ["merge", "@classic", "#math", "-o", "x"],
      "Error: #math: \"model.layers.0.self_attn.q_proj\" has the shape [64, 64], and @classic has [64, 32] there; experts of one base can be merged, these are of two\n"
    ),
    (
      ["merge", "@classic", "@dora", "--method", "cat", "--base", "%", "-o", "x"],
      "Error: @dora: \"model.layers.0.self_attn.q_proj\" cannot be merged so: its magnitudes (DoRA) make the delta more than a product of factors, which cat needs; use --method svd\n"
    ),
    (
      ["merge", "@classic", "@rslora", "--method", "ties", "--density", "0", "-o", "x"],
      "Error: these cannot be merged: the density 0.0 is not above 0 and at most 1\n"
    ),
  ])
  func `refused`(_ arguments: [String], _ sentence: String) throws {
    func full(_ text: String) -> String {
      text.replacing("@", with: "\(Tool.fixtures)/variants/llama/").replacing(
        "#", with: "\(Tool.fixtures)/adapters/"
      )
      .replacing("%", with: Self.base)
    }
    let output = try tool.run(arguments.map(full))
    #expect(output.status == 3)
    #expect(withoutSuggestion(output.err) == full(sentence))
    #expect(try tool.names() == [])
  }

  @Test(arguments: [[], ["--into-base", "--base", MergeTests.base]])
  func `values that are no numbers`(_ options: [String]) throws {
    let bad = "\(Tool.fixtures)/variants/refused/inf"
    let output = try tool.run(["merge", Self.variant("classic"), bad, "-o", "x"] + options)
    #expect(output.status == 3)
    #expect(
      output.err
        == "Error: \(bad)/adapter_model.safetensors: element 34 of the tensor \"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight\" is not a finite number; the training diverged: take an earlier checkpoint\n"
    )
    #expect(try tool.names() == [])
  }

  @Test func `what is there is not written over`() throws {
    try FileManager.default.createDirectory(atPath: tool.path("x"), withIntermediateDirectories: false)
    let output = try tool.run("merge", Self.variant("classic"), "-o", "x")
    #expect(output.status == 3 && output.err.contains("x"))
    #expect(try tool.names() == ["x"])
  }

  @Test func `two runs write the same bytes`() throws {
    for name in ["one", "two"] {
      let output = try tool.run(
        "merge", Self.variant("classic"), Self.variant("all-linear"), "--method", "dare_ties", "--seed", "7",
        "-o", name)
      try #require(output.status == 0, "\(output.err)")
    }
    #expect(try contents(ofDirectory: tool.path("one")) == contents(ofDirectory: tool.path("two")))
    let other = try tool.run(
      "merge", Self.variant("classic"), Self.variant("all-linear"), "--method", "dare_ties", "--seed", "8",
      "-o", "three")
    try #require(other.status == 0)
    #expect(try contents(ofDirectory: tool.path("one")) != contents(ofDirectory: tool.path("three")))
  }
}
