import LMoECore
import LMoEExperts
import LMoEFormat
import Testing

/// A checkpoint has every tensor of its model, in the right shape, and no other.
@Suite struct TensorNamesTests {
  private typealias Tensors = [(name: String, shape: [Int])]

  private let model: ModelConfiguration

  init() throws { model = try Fixture.model("llama").names.model }

  private var whole: Tensors { model.tensors.map { ($0.name, $0.shape) } }

  private func refusal(_ change: (inout Tensors) -> Void) -> String {
    var tensors = whole
    change(&tensors)
    return LMoEExpertsTests.refusal { _ = try TensorNames(model, tensors: tensors, path: "p") }
  }

  @Test func `nothing is wrong`() { #expect(refusal { _ in } == "") }

  @Test func `in any order`() { #expect(refusal { $0.reverse() } == "") }

  @Test func `each tensor may be missing`() {
    for expected in whole {
      let sentence = refusal { $0.removeAll { $0.name == expected.name } }
      #expect(
        [
          "p: a llama model has the tensor \"\(expected.name)\", and the checkpoint has not",
          "p: a llama model has the tensor \"\(expected.name)\", and the checkpoint has not; download it again",
        ].contains(sentence), "\(sentence)")
    }
  }

  @Test func `each tensor may be misshapen`() {
    for (index, expected) in whole.enumerated() {
      for shape in [[], [1], expected.shape + [1], expected.shape.map { $0 + 1 }] {
        let sentence = refusal { $0[index].shape = shape }
        #expect(
          sentence
            == "p: the tensor \"\(expected.name)\" has the shape \(shape), and config.json makes it \(expected.shape); one of them is of another model"
        )
      }
      let turned = Array(expected.shape.reversed())
      if turned != expected.shape { #expect(refusal { $0[index].shape = turned } != "") }
    }
  }

  @Test(
    arguments: [
      "ghost", "model.layers.2.input_layernorm.weight", "model.layers.0.self_attn.q_proj.bias",
      "model.layers.0.self_attn.q_norm.weight", "model.layers.00.input_layernorm.weight",
      "model.norm.weight ", "Model.norm.weight", "model.layers.0.self_attn.q_proj.weight.scale", "",
      "lm_head.weight.rotary_emb.inv_freq.x",
    ])
  func `left over`(name: String) {
    #expect(
      refusal { $0.append((name, [32])) }
        == "p: the tensor \"\(name)\" has no place in a llama model; the checkpoint is of another architecture than config.json says"
    )
  }

  @Test func `what old checkpoints hold and nobody reads`() {
    #expect(refusal { $0.append(("model.layers.0.self_attn.rotary_emb.inv_freq", [8])) } == "")
    #expect(refusal { $0.append(("rotary_emb.inv_freq", [8])) } == "")
  }

  @Test func `a name that ends the sentence early`() {
    let sentence = refusal { $0.append(("a\u{1B}[2J\n\"", [1])) }
    #expect(sentence.hasPrefix("p: the tensor \"a␛[2J␊\"\" has no place"))
    let long = refusal { $0.append((String(repeating: "n", count: 100_000), [1])) }
    #expect(long.utf8.count < 1000)
  }

  @Test func `a bare decoder`() throws {
    let bare = try Fixture.model("llama-bare").names
    #expect(bare.stored("model.norm.weight") == "norm.weight")
    #expect(bare.stored("norm.weight") == nil)
    #expect(bare.canonical(module: "layers.0.mlp.up_proj") == "model.layers.0.mlp.up_proj")
    #expect(bare.canonical(module: "model.layers.0.mlp.up_proj") == "model.layers.0.mlp.up_proj")
    #expect(bare.canonical(module: "layers.2.mlp.up_proj") == nil)
    // Half bare is neither.
    var tensors: Tensors = bare.model.tensors.map { (String($0.name.dropFirst(6)), $0.shape) }
    tensors[tensors.count - 1].name = "model.norm.weight"
    #expect(throws: ExpertError.self) { _ = try TensorNames(bare.model, tensors: tensors, path: "p") }
  }
}
