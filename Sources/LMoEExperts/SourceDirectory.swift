import LMoECore
import LMoEFormat

/// What a directory that somebody wants to import holds: weights, files to keep verbatim, and files that are
/// not taken.
struct SourceDirectory {
  let path: String
  /// Names of all safetensors files, sorted.
  let safetensors: [String]
  /// Paths, relative to the directory, of the files to keep.
  let documents: [String]
  /// Names of what is not taken.
  let leftOut: [String]
  private let system: any FileSystem

  /// Weights in other formats, and what is derived from weights.
  private static let otherWeights: Set<String> = [
    "lmoe", "bin", "pt", "pth", "ckpt", "gguf", "ggml", "onnx", "h5", "msgpack", "npz", "ot", "pkl",
    "mlmodel",
  ]
  /// The one subdirectory that belongs to a checkpoint.
  private static let templates = "additional_chat_templates"
  /// Files beyond this size are data, not documents.
  private static let largestDocument: UInt64 = 64 << 20

  init(_ path: String, in system: any FileSystem) throws {
    guard system.kind(path) == .directory else {
      if system.kind(path) == nil { throw FileError(.open, path: path, code: 2) }
      throw ExpertError(.notADirectory, path: path)
    }
    var path = path
    while path.utf8.count > 1, path.utf8.last == UInt8(ascii: "/") { path.removeLast() }
    self.path = path
    self.system = system
    var (safetensors, documents, leftOut): ([String], [String], [String]) = ([], [], [])
    for name in try system.list(path) {
      let kind = system.kind(path + "/" + name)
      let suffix = name.split(separator: ".").last.map(String.init) ?? ""
      if kind == .directory, name == Self.templates {
        for inner in try system.list(path + "/" + name) {
          let relative = name + "/" + inner
          let isDocument =
            try system.kind(path + "/" + relative) == .file
            && system.open(path + "/" + relative, .read).size() <= Self.largestDocument
          if isDocument { documents.append(relative) } else { leftOut.append(relative) }
        }
      } else if kind != .file || name.hasPrefix(".") || Self.otherWeights.contains(suffix) {
        leftOut.append(name)
      } else if suffix == "safetensors" {
        safetensors.append(name)
      } else if try system.open(path + "/" + name, .read).size() > Self.largestDocument {
        leftOut.append(name)
      } else {
        documents.append(name)
      }
    }
    (self.safetensors, self.documents, self.leftOut) = (safetensors, documents, leftOut)
  }

  func has(_ name: String) -> Bool { documents.contains { $0.hasSameBytes(as: name) } }

  /// Parses a JSON file of the directory.
  func json(_ name: String) throws -> JSON {
    let full = path + "/" + name
    let file = try system.open(full, .read)
    let bytes = try file.bytes(at: 0, count: Int(clamping: min(try file.size(), Self.largestDocument)))
    do throws(JSONError) { return try JSON(parsing: bytes) } catch {
      throw ExpertError(.invalidConfiguration, path: full, found: error.description)
    }
  }

  /// The files to keep, as documents of a bank.
  func documentEntries() throws -> [NewEntry] {
    try documents.map { name in
      let size = try system.open(path + "/" + name, .read).size()
      guard isValidName("files/" + name) else {
        throw FormatError(
          .invalidName, path: path, field: "control characters or \"..\" in a file name", found: name)
      }
      return try NewEntry(
        document: "files/" + name, byteCount: size, source: PathSource(path + "/" + name, in: system))
    }
  }

  /// The head of a safetensors file, as a document.
  static func head(of file: SafetensorsFile, named name: String) throws -> NewEntry {
    try NewEntry(document: "safetensors/" + name, bytes: file.head)
  }
}
