import LMoECore

/// The special tokens around a text.
struct PostProcessor: Sendable {
  private(set) var before: [Int] = []
  private(set) var after: [Int] = []

  /// Reads the section `post_processor`; null adds nothing.
  init(_ json: JSON?, path: String) throws(TokenizerError) {
    guard let json, !json.isNull else { return }
    try add(json, path: path, place: "post_processor")
  }

  private mutating func add(_ json: JSON, path: String, place: String) throws(TokenizerError) {
    var reader = try ComponentReader(json, path: path, place: place)
    switch reader.type {
    case "Sequence":
      for (index, part) in try reader.array("processors").enumerated() {
        try add(part, path: path, place: "\(place).processors[\(index)]")
      }
    case "ByteLevel":
      // All of it is about positions in the text.
      for option in ["add_prefix_space", "trim_offsets", "use_regex"] { _ = reader.value(option) }
    case "TemplateProcessing": try addTemplate(&reader)
    default: throw reader.unsupportedType()
    }
    try reader.end()
  }

  private mutating func addTemplate(_ reader: inout ComponentReader) throws(TokenizerError) {
    _ = reader.value("pair")
    let special = reader.value("special_tokens")
    var first: [Int] = []
    var last: [Int]?
    for piece in try reader.array("single") {
      if let name = piece["SpecialToken"]?["id"]?.string {
        let numbers = (special?[name]?["ids"]?.array ?? []).compactMap(\.int)
        guard !numbers.isEmpty, numbers.allSatisfy({ $0 >= 0 }) else {
          throw TokenizerError(
            .invalidField, path: reader.path, place: reader.place, name: "special_tokens",
            expected: "its number", found: "no token \"\(name)\"")
        }
        if last == nil { first += numbers } else { last? += numbers }
      } else if piece["Sequence"]?["id"]?.string == "A", last == nil {
        last = []
      } else {
        throw reader.unsupported("single", piece, "special tokens around one text")
      }
    }
    guard let last else { throw reader.missing("single") }
    before = first + before
    after += last
  }
}
