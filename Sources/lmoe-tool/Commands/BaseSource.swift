import LMoECore
import LMoEExperts
import LMoEFormat

/// Where a new bundle's base comes from: a checkpoint's directory, or a GGUF file.
enum BaseSource {
  case checkpoint(HFCheckpoint, CheckpointModel)
  case gguf(GGUFBase)

  /// Opens what `path` names, and says on stderr what the user should know.
  init(_ path: String, ignoring keys: [String], in system: any FileSystem) throws {
    if GGUFFile.isGGUF(path, in: system) {
      let base = try GGUFBase(path: path, ignoring: Set(keys), in: system)
      note(path, base.notes)
      self = .gguf(base)
      return
    }
    let checkpoint = try HFCheckpoint(path: path, in: system)
    noteLeftOut(path, checkpoint.leftOut)
    let model = try checkpoint.resolved(ignoring: Set(keys))
    noteUnknownKeys(path, "config.json", model.unknownKeys)
    note(path, model.notes)
    self = .checkpoint(checkpoint, model)
  }

  /// What experts have to fit.
  var base: BaseDescription {
    switch self {
    case .checkpoint(_, let model): model.base
    case .gguf(let base): base.base
    }
  }

  /// Raw bytes of its tensors.
  var rawBytes: UInt64 {
    switch self {
    case .checkpoint(let checkpoint, _):
      checkpoint.tensors.reduce(0) { $0 + UInt64($1.tensor.type.rawBytes) }
    case .gguf(let base): base.rawBytes
    }
  }

  /// Adds it to a bundle.
  func add(to writer: BundleWriter, embeds: Bool, ignoredKeys: [String]) throws -> BaseDescription {
    switch self {
    case .checkpoint(let checkpoint, let model):
      try writer.addBase(checkpoint, model, embeds: embeds, ignoredKeys: ignoredKeys)
    case .gguf(let base): try writer.addBase(base, embeds: embeds, ignoredKeys: ignoredKeys)
    }
  }
}
