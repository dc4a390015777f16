import LMoECore

/// A document to be scored.
public struct TextDocument: Hashable, Sendable {
  /// What comes first and is not scored.
  public let prompt: [UInt8]
  /// What is scored.
  public let text: [UInt8]

  /// Makes a document.
  public init(prompt: [UInt8] = [], text: [UInt8]) { (self.prompt, self.text) = (prompt, text) }
}

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

  /// Reads the bytes of a file: JSON lines for a path that ends in `.jsonl`, and else one text.
  ///
  /// A line of JSON has `text`, or `prompt` and `completion`, of which the completion is scored.
  ///
  /// - Throws: `RuntimeError` with `invalid-data` that names the line.
  public init(domain: String, path: String, bytes: [UInt8]) throws {
    self.domain = domain
    guard path.hasSuffix(".jsonl") || path.hasSuffix(".ndjson") else {
      guard String(validating: bytes, as: UTF8.self) != nil else {
        throw RuntimeError(.invalidData, path: path, found: "it is not UTF-8")
      }
      documents = bytes.isEmpty ? [] : [TextDocument(text: bytes)]
      return
    }
    var documents: [TextDocument] = []
    for (number, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
      if line.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
      func invalid(_ found: String) -> RuntimeError {
        RuntimeError(.invalidData, path: path, name: "\(number + 1)", found: found)
      }
      let json: JSON
      do throws(JSONError) { json = try JSON(parsing: Array(line)) } catch {
        throw invalid(error.description)
      }
      if let text = json["text"]?.string {
        documents.append(TextDocument(text: Array(text.utf8)))
      } else if let prompt = json["prompt"]?.string, let completion = json["completion"]?.string {
        documents.append(TextDocument(prompt: Array(prompt.utf8), text: Array(completion.utf8)))
      } else {
        throw invalid("it has neither \"text\" nor \"prompt\" and \"completion\"")
      }
    }
    self.documents = documents
  }
}
