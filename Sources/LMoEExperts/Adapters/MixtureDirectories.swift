import LMoECore

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
          "it mixes whole feed-forward networks, each with its own nonlinearity, which no mixture of linear layers equals; its experts as plain experts would be another model, so nothing was imported",
        found: "\"MIXLORA\"")
    case "LORAMOE", "MOLA":
      throw ExpertError(
        .unsupportedAdapter, path: file, name: "peft_type",
        expected:
          "its experts and gates are in a pickle under names of their own; save each expert as a PEFT adapter and give the bundle a gate",
        found: JSON.string(type).shortText)
    default: return
    }
  }
}
