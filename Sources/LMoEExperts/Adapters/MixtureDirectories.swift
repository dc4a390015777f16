import LMoECore
import LMoEFormat

/// Directories of other tools that hold several adapters and what mixes them.
enum MixtureDirectories {
  /// Refuses, by name and with what can be done instead, a directory that holds more than one adapter.
  static func refuse(_ path: String, in system: any FileSystem) throws {
    guard system.kind(path) == .directory else { return }
    if let model = try XLoRADirectory(path, in: system) {
      throw ExpertError(
        .unsupportedAdapter, path: model.path, name: model.configurationName,
        expected:
          "import its adapters with --xlora \(model.path), or one by one: "
          + model.adapters.map(\.path).joined(separator: ", "),
        found: "that of an X-LoRA model with \(model.adapters.count) adapters")
    }
    let directory = try SourceDirectory(path, in: system)
    guard directory.has(PEFTAdapter.configurationName) else { return }
    let type = try directory.json(PEFTAdapter.configurationName)["peft_type"]?.string ?? ""
    let file = directory.path + "/" + PEFTAdapter.configurationName
    switch type {
    case "MIXLORA":
      throw ExpertError(
        .unsupportedAdapter, path: file, name: "peft_type",
        expected:
          "it mixes whole feed-forward networks, each with its own nonlinearity, which no mixture of linear layers equals, and its experts as plain experts would be another model; nothing was imported",
        found: "\"MIXLORA\"" + (try contents(of: directory, in: system)))
    case "LORAMOE", "MOLA":
      throw ExpertError(
        .unsupportedAdapter, path: file, name: "peft_type",
        expected:
          "its experts and gates are in a pickle under names of their own; save each expert as a PEFT adapter and give the bundle a gate",
        found: JSON.string(type).shortText)
    default: return
    }
  }

  /// What a MixLoRA model's pickle has, if it has one.
  private static func contents(of directory: SourceDirectory, in system: any FileSystem) throws -> String {
    let path = directory.path + "/" + PickledAdapter.weights
    guard system.kind(path) == .file else { return "" }
    var (experts, networks, shared) = (Set<String>(), 0, 0)
    for tensor in try TorchFile(path: path, in: system).tensors {
      let parts = tensor.name.utf8.split(separator: UInt8(ascii: ".")).map {
        String(decoding: $0, as: UTF8.self)
      }
      if parts.contains("moe_gate") || parts.contains("gate") {
        networks += 1
      } else if let place = parts.firstIndex(of: "experts"), place + 1 < parts.count {
        experts.insert(parts[place + 1])
      } else if parts.contains("lora_A") {
        shared += 1
      }
    }
    return
      ", \(experts.count) experts in each of \(networks) feed-forward networks and \(shared) linear layers without experts"
  }
}
