import LMoECore
import LMoEExperts
import LMoEFormat

/// Where an expert on the command line comes from: a PEFT directory, or a bundle that has it (`FILE#NAME`).
enum ExpertSource {
  case adapter(PEFTAdapter)
  case stored(StoredExpert)

  /// Opens what `path` names.
  ///
  /// A directory is a directory, whatever its name; what stands before the last `#` is a bundle if it is a file.
  ///
  /// - Parameter model: The model of the base that it goes to.
  init(
    _ path: String, on model: () throws -> ModelConfiguration, in system: any FileSystem = PosixFileSystem()
  ) throws {
    if system.kind(path) == .directory || GGUFFile.isGGUF(path, in: system) {
      self = .adapter(try PEFTAdapter(opening: path, on: model, in: system))
      return
    }
    if let hash = path.utf8.lastIndex(of: UInt8(ascii: "#")) {
      let file = String(decoding: path.utf8[..<hash], as: UTF8.self)
      let name = String(decoding: path.utf8[hash...].dropFirst(), as: UTF8.self)
      if system.kind(file) == .file {
        let bundle = try Bundle(path: file, in: system)
        if name.isEmpty { throw Self.unnamed(bundle) }
        self = .stored(try StoredExpert(name, in: bundle))
        return
      }
    }
    if system.kind(path) == .file {
      do {
        throw Self.unnamed(try Bundle(path: path, in: system))
      } catch let error as FormatError where error.code == .notLMoE {
        // Neither a bundle nor a directory, which the reader of directories says.
      }
    }
    self = .adapter(try PEFTAdapter(path: path, in: system))
  }

  private static func unnamed(_ bundle: Bundle) -> ExpertError {
    ExpertError(.noExpertNamed, path: bundle.path, found: bundle.expertNames)
  }

  /// What `history` says of where it came from; nothing of a directory, whose name the card has.
  var origin: String {
    guard case .stored(let expert) = self else { return "" }
    return " from \(Import.lastComponent(expert.path))"
  }

  /// Raw bytes of its tensors.
  var rawBytes: UInt64 {
    switch self {
    case .adapter(let adapter): adapter.file.tensors.reduce(0) { $0 + UInt64($1.type.rawBytes) }
    case .stored(let expert): expert.rawBytes
    }
  }
}

/// Says on stderr that an adapter names another base than the one it was added to, where both are known.
///
/// Names say little, and so this is only a note.
func noteOtherBaseName(_ adapter: PEFTAdapter, importedFrom base: String?) {
  guard let trained = adapter.baseName.flatMap(lastComponent), let base = base.flatMap(lastComponent),
    !trained.lowercased().hasSameBytes(as: base.lowercased())
  else { return }
  Terminal.complain(
    "Note: \(adapter.path.printable) says it was trained on \"\(trained.printable)\"; this base came from "
      + "\"\(base.printable)\". Names and shapes agree, so it was added as asserted.")
}

/// The last component of a path or of a name like `owner/model`; nil if it says nothing.
private func lastComponent(_ path: String) -> String? {
  guard let last = path.utf8.split(separator: UInt8(ascii: "/")).last else { return nil }
  let name = String(decoding: last, as: UTF8.self)
  return name == "." || name == ".." ? nil : name
}

/// Says on stderr what the base that an expert of a bundle was with says otherwise than the one it goes to: the
/// weights may be the same and the model another.
func noteOtherConfiguration(_ expert: StoredExpert, _ bundle: Bundle?) {
  guard let there = try? expert.bundle.baseDescription().model,
    let here = try? bundle?.baseDescription().model
  else { return }
  let differences = there.differences(from: here).map { "\($0.key) \($0.own) there, \($0.other) here" }
  if !differences.isEmpty {
    note(expert.path, ["the configurations of the two bases differ: " + differences.joined(separator: "; ")])
  }
}
