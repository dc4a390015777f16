import Foundation
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime
import Testing

import class LMoEFormat.Bundle

/// What cannot be run ends in one sentence.
@Suite struct RefusalTests {
  private func sentence(_ body: () throws -> Void) -> String {
    do { try body() } catch { return "\(error)".replacing(#/^.*\.lmoe: /#, with: "") }
    return "nothing"
  }

  @Test(arguments: [
    ("saved-norm", "it replaces model."), ("bias-all", "it replaces model.layers.0."),
    ("embed", "it adapts the embedding model.embed_tokens"), ("tokens", "it has trained rows of "),
    ("lora-bias", "it adds a bias to model.layers.0."),
    ("replicated", "it stacks the layers of the base anew"),
    ("saved-head", "it replaces lm_head.weight as a whole"),
  ])
  func `what cannot be weighed token by token`(variant: String, reason: String) throws {
    let fixture = try RuntimeFixture()
    let base = try LoadedBase(
      fixture.bundle(
        base: "families/qwen2",
        experts: [("x", "variants/qwen2/" + variant), ("y", "variants/qwen2/classic")]),
      on: RuntimeFixture.pool)
    for selection in [
      Selection.uniform, .weights([.init("x", 1)]), .weights([.init("y", 0.5), .init("x", 0.5)]),
    ] {
      let text = sentence { _ = try Model(base, selection: selection) }
      #expect(text.hasPrefix("the expert x cannot be mixed: " + reason), "\(text)")
      #expect(
        text.hasSuffix("which has no weight for each token; run it alone with --expert x, or leave it out"))
    }
    _ = try Model(base, selection: .expert("x"))
    _ = try Model(base, selection: .weights([.init("y", 1)]))
  }

  @Test func `names that are not there`() throws {
    let fixture = try RuntimeFixture()
    let base = try LoadedBase(
      fixture.bundle(base: "families/llama", experts: [("poet", "variants/llama/classic")]),
      on: RuntimeFixture.pool)
    #expect(
      sentence { _ = try Model(base, selection: .expert("peot")) }
        == "there is no expert peot; did you mean poet? (there is poet)")
    #expect(
      sentence { _ = try Model(base, selection: .weights([.init("prose", 1)])) }
        .hasPrefix("there is no expert prose"))
    #expect(sentence { _ = try Model(base, selection: .gate("g")) }.hasPrefix("there is no gate g"))
    let bare = try LoadedBase(fixture.bundle(base: "families/llama"), on: RuntimeFixture.pool)
    #expect(
      sentence { _ = try Model(bare, selection: .uniform) }
        == "the bundle has no experts; add one with \"lmoe-tool add\"")
  }

  @Test func `tokens out of range and prompts that are empty or too long`() throws {
    let fixture = try RuntimeFixture()
    let model = try Model(LoadedBase(fixture.bundle(base: "families/llama"), on: RuntimeFixture.pool))
    for token in [-1, 96, .max, .min] {
      #expect(
        sentence { _ = try model.logits([1, token]) } == "there is no token \(token); the model has 0 to 95")
    }
    var options = Generator.Options()
    let generator = Generator(model, options)
    #expect(sentence { try generator.run([[]]) { _, _ in true } }.hasPrefix("the prompt has no tokens"))
    let positions = model.configuration.maximumPositions
    #expect(
      sentence { try generator.run([Array(repeating: 1, count: positions + 1)]) { _, _ in true } }
        == "the prompt has \(positions + 1) tokens and the context \(positions); "
        + "shorten it, or give --context")
    options.context = 10
    options.sampling = .greedy
    var ends: [Generator.End] = []
    var count = 0
    try Generator(model, options).run([[1, 2, 3, 4, 5, 6, 7]]) { _, event in
      switch event {
      case .token: count += 1
      case .end(let end): ends.append(end)
      }
      return true
    }
    #expect(ends == [.context] && count == 3)
  }

  @Test func `a base with a NaN is named when it shows`() throws {
    let fixture = try RuntimeFixture()
    // Written into the bundle as it is: import has its own word on such a base.
    let source = try fixture.bundle(base: "families/llama-f32")
    let bank = try source.bank("base")
    let manifest = try source.manifest(of: bank)
    let path = fixture.directory + "/nan.lmoe"
    let writer = try BundleWriter(creating: path)
    let entries = try manifest.entries.map { entry in
      var bytes = try source.bytes(of: entry, in: bank)
      if entry.name == "model.layers.1.mlp.up_proj.weight" {
        withUnsafeBytes(of: Float.nan) { bytes.replaceSubrange(20..<24, with: $0) }
      }
      return entry.class == .tensor
        ? NewEntry(tensor: entry.name, type: entry.type, source: MemorySource(bytes))
        : try NewEntry(document: entry.name, bytes: bytes)
    }
    try writer.addBank("base", card: try source.card(of: bank), entries: entries)
    try writer.commit(note: "test")
    let model = try Model(LoadedBase(Bundle(path: path), on: RuntimeFixture.pool))
    #expect(
      sentence { _ = try model.logits([1, 2]) }
        == "the base's tensor model.layers.1.mlp.up_proj.weight has an infinity or a NaN at element 5; "
        + "import it anew")
  }

  @Test func `weights too large for any number`() throws {
    let fixture = try RuntimeFixture()
    let base = try LoadedBase(
      fixture.bundle(base: "families/llama", experts: [("x", "variants/llama/all-linear")]),
      on: RuntimeFixture.pool)
    let model = try Model(base, selection: .weights([.init("x", 1e38)]))
    #expect(
      sentence { _ = try model.logits([1]) }
        == "the logits at position 0 are not finite, though the base's weights are: "
        + "an expert or a weight of the mixture is too large")
  }

  @Test func `the workers are all the threads there are`() throws {
    let fixture = try RuntimeFixture()
    // Other tests begin and end pools of their own meanwhile, and the process's threads are theirs
    // too: a whole course must pass while none does.
    var courses: [(before: Int, after: Int)] = []
    while courses.count < 30 {
      let pool = WorkerPool(count: 3)
      let model = try Model(LoadedBase(fixture.bundle(base: "families/llama"), on: pool))
      _ = try model.logits([1, 2, 3])
      let before = try Self.threads()
      for _ in 0..<20 { _ = try model.logits([1, 2, 3, 4]) }
      courses.append((before, try Self.threads()))
      if courses.contains(where: { $0.before == $0.after }) { break }
    }
    #expect(courses.contains { $0.before == $0.after }, "\(courses)")
  }

  private static func threads() throws -> Int {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").count
  }
}
