import LMoECore

/// Documents of one kind, read from a file.
public struct TextData: Sendable {
  /// What kind of text it is.
  public let domain: String
  /// The documents.
  public let documents: [TextDocument]

  /// Takes documents as they are.
  public init(domain: String, documents: [TextDocument]) {
    (self.domain, self.documents) = (domain, documents)
  }

  /// Reads the bytes of a file: JSON lines for a path that ends in `.jsonl` or `.ndjson`, and else one text.
  ///
  /// A line of JSON has `text`; or `prompt` and `completion`, of which the completion is scored; or
  /// `messages`, of which the assistant's are.
  ///
  /// - Parameters:
  ///   - domain: What kind of text it is, where a line does not say.
  ///   - path: The file.
  ///   - bytes: What is in it.
  ///   - chat: How messages become text.
  /// - Throws: `RuntimeError` with `invalid-data` that names the line.
  public init(domain: String, path: String, bytes: [UInt8], chat: ChatForm = .none) throws {
    self.domain = domain
    guard TextFile.Form(path) == .lines else {
      if let offset = invalidUTF8(bytes) {
        let line = bytes[..<offset].reduce(1) { $1 == 0x0A ? $0 + 1 : $0 }
        throw RuntimeError(.invalidData, path: path, name: "\(line)", found: "it is not UTF-8")
      }
      documents = bytes.isEmpty ? [] : [TextDocument(text: bytes)]
      return
    }
    var documents: [TextDocument] = []
    for (number, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
      if line.allSatisfy({ TextFile.isBlank($0) }) { continue }
      do throws(TextDefect) {
        documents.append(try TextDocument(line: Array(line), chat: chat))
      } catch {
        throw RuntimeError(.invalidData, path: path, name: "\(number + 1)", found: error.found)
      }
    }
    self.documents = documents
  }
}

/// Where bytes stop being UTF-8; nil where they are.
func invalidUTF8(_ bytes: [UInt8]) -> Int? {
  do throws(UTF8.ValidationError) {
    _ = try UTF8Span(validating: bytes.span)
    return nil
  } catch {
    return error.byteOffsets.lowerBound
  }
}
