import LMoECore

/// The documents of a source, file after file.
struct SourceFiles {
  let source: TrainingSource
  let files: [TextFile]
  /// How many documents there are before each file.
  private let starts: [Int]
  /// How many documents there are.
  let count: Int

  /// Where a document stands.
  struct Place {
    let file: TextFile
    let offset: UInt64
  }

  /// Indexes the files of a source.
  ///
  /// - Throws: `FileError`; `RuntimeError` with `invalid-data` for a source without documents.
  init(_ source: TrainingSource, in opened: OpenFiles) throws {
    self.source = source
    files = try Self.paths(at: source.path, opened.system).map { try TextFile($0, in: opened) }
    var starts: [Int] = []
    var count = 0
    for file in files {
      starts.append(count)
      count += file.count
    }
    (self.starts, self.count) = (starts, count)
    guard count > 0 else {
      throw RuntimeError(.invalidData, path: source.path, found: "there are no texts in it")
    }
  }

  /// The files at a path, those of a directory in the order of their names; hidden ones are left out.
  static func paths(at path: String, _ system: any FileSystem, depth: Int = 0) throws(FileError) -> [String] {
    guard depth < 16, system.kind(path) == .directory else { return [path] }
    var paths: [String] = []
    for name in try system.list(path) where name.utf8.first != UInt8(ascii: ".") {
      paths += try Self.paths(at: path + "/" + name, system, depth: depth + 1)
    }
    return paths
  }

  /// A document and where it stands.
  ///
  /// - Throws: `FileError`; `RuntimeError` with `invalid-data` and the line for what is no document.
  func document(
    _ index: Int, in opened: OpenFiles, chat: ChatForm
  ) throws -> (document: TextDocument, place: Place) {
    // The last file that begins with this document or one before it; empty files begin where the next one
    // does.
    var (low, high) = (0, files.count - 1)
    while low < high {
      let middle = (low + high + 1) / 2
      if starts[middle] <= index { low = middle } else { high = middle - 1 }
    }
    let file = files[low]
    let number = index - starts[low]
    let record = try file.record(number, in: opened)
    let place = Place(file: file, offset: record.offset)
    switch file.form {
    case .lines:
      do throws(TextDefect) {
        return (try TextDocument(line: Array(record.bytes), chat: chat), place)
      } catch {
        throw try invalid(error.found, at: place, in: opened)
      }
    case .plain:
      let bytes = Array(record.bytes)
      if let offset = invalidUTF8(bytes) {
        let bad = Place(file: file, offset: record.offset + UInt64(offset))
        throw try invalid("it is not UTF-8", at: bad, in: opened)
      }
      let document = TextDocument(
        parts: [TextDocument.Part(bytes, isTarget: true)], isBeginning: number == 0,
        isEnd: number == file.count - 1)
      return (document, place)
    }
  }

  /// The error for something that stands at a place.
  func invalid(_ found: String, at place: Place, in opened: OpenFiles) throws -> RuntimeError {
    let line = try place.file.line(at: place.offset, in: opened)
    return RuntimeError(.invalidData, path: place.file.path, name: "\(line)", found: found)
  }
}
