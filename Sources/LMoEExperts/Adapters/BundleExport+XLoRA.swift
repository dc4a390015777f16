#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif
import LMoECore
import LMoEFormat

extension BundleExport {
  /// How the files of an X-LoRA model are laid out.
  public enum XLoRALayout: String, CaseIterable, Sendable {
    /// As the original package has them, and mistral.rs reads them.
    case original
    /// As PEFT has them.
    case peft
  }

  /// Writes experts and a constant gate to the new directory `path` as an X-LoRA model.
  ///
  /// X-LoRA's classifier looks at the final hidden state of a first pass, and no gate here does; so only a
  /// constant gate can be written: the classifier's weights are zero, and its biases the gate's logarithms.
  ///
  /// - Parameters:
  ///   - experts: Names of the experts; all if empty.
  ///   - gate: The gate's name; nil for the one that is meant where none is named, or the uniform one.
  /// - Returns: The names of the files written.
  /// - Throws: `ExpertError` with `not-exportable` for a gate or an expert that X-LoRA cannot say, `FormatError`;
  ///   nothing is left at `path` then.
  public func writeXLoRA(
    _ experts: [String], gate: String?, layout: XLoRALayout, to path: String
  ) throws -> [String] {
    let names = experts.isEmpty ? bundle.banks(ofKind: "expert").map(\.shortName) : experts
    guard !names.isEmpty else { throw ExpertError(.noExperts, path: bundle.path) }
    for name in names {
      try AdapterFactors(name, of: bundle).requirePlain(for: "an X-LoRA model")
    }
    let stored = try gate.map { try bundle.gate(named: $0) } ?? bundle.defaultGate()
    let weights = try XLoRAWeights(stored, of: names, in: bundle)
    let hidden = try bundle.baseDescription().model.hiddenSize
    let baseName = try bundle.baseDescription().name
    return try NewDirectory.making(path, in: system) { made, directory in
      var files: [String] = []
      for (index, name) in names.enumerated() {
        let inner = layout == .original ? name : "\(index)"
        try made.directory(directory + "/" + inner)
        let written = try writeAdapter(name, try adapterWriter(name), to: directory + "/" + inner, &made)
        files += written.map { inner + "/" + $0 }
      }
      let adapters: JSON =
        layout == .original
        ? .array(names.map(JSON.string))
        : .object(names.indices.map { ("\($0)", .string("\(path)/\($0)")) })
      var configuration: [(String, JSON)] = [
        ("hidden_size", .integer(hidden)), ("adapters", adapters), ("enable_softmax", true),
        ("enable_softmax_topk", false), ("layerwise_scalings", false), ("xlora_depth", 1),
        ("xlora_size", 2048), ("xlora_dropout_p", .double(0.2)), ("use_trainable_adapters", false),
        ("softmax_temperature", .double(1)), ("top_k_lora", .null), ("scaling_pass_value", .double(0)),
        ("global_scaling_weight", .double(weights.total)),
      ]
      switch layout {
      case .original:
        configuration += [
          ("base_model_id", .string(baseName ?? "")), ("enable_relu_and_dropout", true), ("use_bias", true),
        ]
      case .peft:
        configuration += [
          ("base_model_name_or_path", baseName.map(JSON.string) ?? .null), ("peft_type", "XLORA"),
          ("task_type", "CAUSAL_LM"), ("inference_mode", true),
        ]
      }
      let isOriginal = layout == .original
      let configurationName = isOriginal ? XLoRADirectory.original : PEFTAdapter.configurationName
      let weightsName = isOriginal ? XLoRADirectory.classifier : PEFTAdapter.weights
      try write(
        Array(JSON.object(configuration).serialized(pretty: true).utf8), configurationName, in: directory,
        &made)
      let stem = isOriginal ? "last" : "base_model.internal_xlora_classifier.layers.0"
      try SafetensorsWriter.write(
        try made.place(weightsName, in: directory, of: bundle.path),
        tensors: try weights.tensors(stem, hidden: hidden), metadata: [("format", "pt")], in: system)
      return [configurationName, weightsName] + files
    }
  }
}

/// The weights of a constant gate as X-LoRA has them: a softmax, times a number for all.
struct XLoRAWeights {
  /// The logits, in the experts' order.
  let logits: [Float]
  /// The sum of the weights.
  let total: Double

  /// Finds the weights that `stored` gives to the experts `names`.
  ///
  /// - Throws: `ExpertError` with `not-exportable` for a gate that looks at something else, or weights that no
  ///   softmax gives.
  init(_ stored: StoredGate?, of names: [String], in bundle: Bundle) throws {
    let gate = stored?.gate ?? .uniform
    func refused(_ what: String) -> ExpertError {
      ExpertError(.notExportable, path: bundle.path, name: stored?.name ?? "uniform", found: what)
    }
    let ids = try names.map { try bundle.bank("expert/" + $0).id }
    guard case .constant(let weights) = gate.score else {
      throw refused(
        "X-LoRA weighs experts by the final hidden state of a first pass, and this gate by \(gate.input.rawValue); export its experts with another gate (\"gate init --kind constant\", --gate)"
      )
    }
    if case .listed(let members) = gate.members, members.contains(where: { $0.role == .always }) {
      throw refused("X-LoRA has no experts that are always on")
    }
    if gate.normaliser.k != nil { throw refused("its top-k is not exported; make a constant gate without") }
    let places = try names.map { name in
      Set(try AdapterFactors(name, of: bundle).modules.map { ByteKey($0.name) })
    }
    if gate.normaliser == .softmax, Set(places).count > 1 {
      throw refused(
        "its experts change different modules, and where one does not act, the others share its weight here and not in X-LoRA"
      )
    }
    let numbers: [Double] =
      switch weights {
      case .uniform: ids.map { _ in 0 }
      case .given(let list):
        try ids.map { id in
          guard let weight = list.first(where: { $0.expert == id }) else {
            throw refused("it has no weight for every expert; name those that it has with --expert")
          }
          return weight.value / gate.temperature
        }
      }
    if gate.normaliser == .none {
      guard numbers.allSatisfy({ $0 > 0 }) else { throw refused("X-LoRA has no weights of 0 or below") }
      total = numbers.reduce(0, +)
      logits = numbers.map { Float(log($0)) }
    } else {
      total = 1
      logits = numbers.map { Float($0) }
    }
  }

  /// The classifier: weights of zero, and the logits as biases.
  func tensors(_ stem: String, hidden: Int) throws -> [NewEntry] {
    let zeros = [UInt8](repeating: 0, count: 4 * hidden * logits.count)
    let bias = try GGUFExport.vector(stem + ".bias", logits)
    guard let weight = AdapterConversion.tensor(stem + ".weight", .f32, [logits.count, hidden], zeros) else {
      throw FormatError(.tooLarge, entry: stem)
    }
    return [weight, bias]
  }
}
