public import LMoECore
public import LMoEFormat

extension GGUFExport {
  /// Writes the expert `name` as a LoRA adapter for llama.cpp to the new file `path`.
  ///
  /// Its scaling is multiplied into B, and `adapter.lora.alpha` is 0, which llama.cpp takes for none: so every
  /// scaling comes through, α/√r and one for each module too.
  ///
  /// - Parameters:
  ///   - name: The expert.
  ///   - path: The file, which appears when it is whole.
  ///   - dtype: F32, F16 or BF16.
  /// - Throws: `ExpertError` with `not-exportable` for what such a file cannot say, `FormatError`.
  public static func writeExpert(
    _ name: String, of bundle: Bundle, to path: String, as dtype: DType = .f32,
    in system: any FileSystem = PosixFileSystem()
  ) throws {
    if system.kind(path) != nil { throw ExpertError(.outputExists, path: path) }
    let factors = try AdapterFactors(name, of: bundle)
    try factors.requirePlain(for: "a GGUF adapter")
    let model = try bundle.baseDescription().model
    var tensors: [NewEntry] = []
    for module in factors.modules {
      if module.name == "lm_head", model.tiesEmbeddings {
        throw factors.refused(
          "it changes lm_head, which llama.cpp does not have apart from the embedding here")
      }
      guard let target = GGUFNames.gguf(module: module.name) else {
        throw factors.refused("llama.cpp has no name for the module \(module.name)")
      }
      tensors.append(
        try factors.entry(module.a, named: target + ".weight.lora_a", as: dtype, times: 1, order: nil))
      tensors.append(
        try factors.entry(
          module.b, named: target + ".weight.lora_b", as: dtype, times: module.numbers.scaling,
          order: GGUFArchitecture.order(of: module.name + ".weight", in: model, isExport: true)))
    }
    try GGUFWriter.write(
      path,
      metadata: [
        ("general.architecture", .string(GGUFArchitecture(model.family).rawValue)),
        ("general.type", .string("adapter")), ("general.name", .string(name)),
        ("general.file_type", .u32(dtype == .f32 ? 0 : dtype == .f16 ? 1 : 32)),
        ("adapter.type", .string("lora")), ("adapter.lora.alpha", .f32(0)),
      ], tensors: tensors, in: system)
  }
}
