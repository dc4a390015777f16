public import ArgumentParser
import LMoECore
public import LMoEExperts
import LMoEFormat

extension GGUFElement: ExpressibleByArgument {}
extension BundleExport.XLoRALayout: ExpressibleByArgument {}

extension Export {
  /// What the formats of other tools ask of the options.
  func validateFormats() throws {
    if [.ggufLora, .mlx].contains(to), expert.count != 1 {
      throw ValidationError("--to \(to.rawValue) needs one --expert NAME.")
    }
    if to == .gguf && !expert.isEmpty {
      throw ValidationError("--to gguf writes the base; an expert goes with --to gguf-lora.")
    }
    if type != nil && ![.gguf, .ggufLora].contains(to) {
      throw ValidationError("--type goes with --to gguf and --to gguf-lora.")
    }
    if to == .ggufLora, let type, type.loraType == nil {
      throw ValidationError("--type is f32, f16 or bf16 for --to gguf-lora.")
    }
    if gate != nil && to != .xlora { throw ValidationError("--gate goes with --to xlora.") }
    if layout != nil && to != .xlora { throw ValidationError("--layout goes with --to xlora.") }
    if noTokenizer && to != .gguf { throw ValidationError("--no-tokenizer goes with --to gguf.") }
  }

  /// Writes the base as a GGUF file.
  func writeGGUF(_ bundle: Bundle, _ resolved: ResolvedBase?) throws {
    let base = try resolved ?? ResolvedBase(bundle)
    let progress = ProgressBar(
      "export", total: base.tensors.reduce(0) { $0 + UInt64($1.entry.type.rawBytes) })
    defer { progress.finish() }
    let notes = try GGUFExport(bundle, base: base).writeBase(
      to: output, as: type ?? .asStored, withTokenizer: !noTokenizer
    ) { progress.advance($0) }
    progress.finish()
    note(output, notes)
    try printFile("base")
  }

  /// Writes an expert as a GGUF adapter.
  func writeGGUFLoRA(_ bundle: Bundle) throws {
    let name = expert.first ?? ""
    try GGUFExport.writeExpert(name, of: bundle, to: output, as: type?.loraType ?? .f32)
    try printFile("expert/" + name)
  }

  /// Writes an expert as an adapter of mlx-lm.
  func writeMLX(_ bundle: Bundle) throws {
    let name = expert.first ?? ""
    printFiles("expert/" + name, try BundleExport(bundle).writeMLX(name, to: output))
  }

  /// Writes experts and a gate as an X-LoRA model.
  func writeXLoRA(_ bundle: Bundle) throws {
    var export = BundleExport(bundle)
    export.dequantization = dequantize.flatMap { Dequantization($0.dtype) }
    let files = try export.writeXLoRA(expert, gate: gate, layout: layout ?? .original, to: output)
    if layout == .peft {
      note(output, ["PEFT looks for the adapters at the paths in adapter_config.json, as seen from here"])
    }
    printFiles(expert.count == 1 ? "expert/" + expert[0] : "experts and a gate", files)
  }

  /// Says what was written into a directory.
  func printFiles(_ bank: String, _ files: [String]) {
    report.print([
      "schema": 1, "path": .string(output), "bank": .string(bank), "files": .array(files.map(JSON.string)),
    ]) {
      Terminal.print("\(output.printable): \(bank.printable), \(files.count) files")
    }
  }

  private func printFile(_ bank: String) throws {
    let bytes = try PosixFileSystem().open(output, .read).size()
    report.print([
      "schema": 1, "path": .string(output), "bank": .string(bank), "file_bytes": .integer(bytes),
    ]) {
      Terminal.print("\(output.printable): \(bank.printable), \(formatted(bytes: bytes))")
    }
  }
}

extension GGUFElement {
  /// The element type of an adapter; nil for blocks.
  fileprivate var loraType: DType? {
    switch self {
    case .f32: .f32
    case .f16: .f16
    case .bf16: .bf16
    default: nil
    }
  }
}
